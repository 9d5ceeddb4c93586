"""Where archives are."""

import pytest

from kalends.domain.errors import Misconfigured
from kalends.domain.places import Bucket, Folder, endpoint, place


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("file:///mnt/backups", Folder(path="/mnt/backups")),
        ("file:///mnt/my%20disk", Folder(path="/mnt/my disk")),
        ("s3://kalends", Bucket(name="kalends")),
        ("s3://kalends/", Bucket(name="kalends")),
        ("s3://my.bucket-1/one/two/", Bucket(name="my.bucket-1", prefix="one/two")),
    ],
)
def test_a_place_is_a_folder_or_a_bucket(text, meant):
    """With a prefix, if it has one."""
    assert place(text, setting="backup.store") == meant


@pytest.mark.parametrize(
    "text",
    ["", "/mnt/backups", "file://host/path", "s3://", "s3://UPPER/x", "s3://b/x", "s3://bucket/../x", "s3://key@bucket/x", "http://host/b"],
)
def test_anything_else_is_refused_by_the_name_of_its_setting(text):
    """A folder without a scheme too: what looks like one may be a slip of the pen."""
    with pytest.raises(Misconfigured, match=r"backup\.store"):
        place(text, setting="backup.store")


@pytest.mark.parametrize(
    ("url", "virtual", "asked"),
    [
        ("", False, "https://s3.eu-central-1.amazonaws.com"),
        ("", True, "https://kalends.s3.eu-central-1.amazonaws.com"),
        ("http://127.0.0.1:9000/", False, "http://127.0.0.1:9000"),
        ("https://store.example:9000", True, "https://kalends.store.example:9000"),
    ],
)
def test_a_bucket_is_asked_for_at_its_server(url, virtual, asked):
    """Amazon's, where none is named; the bucket's name is a part of the host's only where that is wanted."""
    assert endpoint(Bucket(name="kalends"), url=url, region="eu-central-1", virtual=virtual) == asked


@pytest.mark.parametrize("url", ["ftp://host", "host:9000", "https://", "https://host/path"])
def test_what_is_no_server_is_refused(url):
    """Below a path there is none."""
    with pytest.raises(Misconfigured, match=r"s3\.url"):
        endpoint(Bucket(name="kalends"), url=url, region="x", virtual=False)
