"""Object stores: a bucket, a folder of this machine that mirrors a prefix, and the lock on an object.

The only package that imports obstore. May import `pipeline.files` and `pipeline.io.ranges`.
"""

from pipeline.io.objects.bucket import PAGE, Bucket, Entry, Taken, bucket_of
from pipeline.io.objects.lock import ObjectLock, check_lock, is_locked, lock_of
from pipeline.io.objects.mirror import Mirror
from pipeline.io.objects.reading import ObjectRanges, below, head, reading, version_below, version_of, web_store
from pipeline.io.objects.settings import has_credentials

__all__ = [
    "PAGE",
    "Bucket",
    "Entry",
    "Mirror",
    "ObjectLock",
    "ObjectRanges",
    "Taken",
    "below",
    "bucket_of",
    "check_lock",
    "has_credentials",
    "head",
    "is_locked",
    "lock_of",
    "reading",
    "version_below",
    "version_of",
    "web_store",
]
