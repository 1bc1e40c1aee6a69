"""Object stores: a bucket, a folder of this machine that mirrors a prefix, and the lock on an object.

The only package that imports obstore. May import `pipeline.files`.
"""

from pipeline.io.objects.bucket import Bucket, Entry, Taken, bucket_of
from pipeline.io.objects.lock import ObjectLock, check_lock, is_locked, lock_of
from pipeline.io.objects.mirror import Mirror

__all__ = ["Bucket", "Entry", "Mirror", "ObjectLock", "Taken", "bucket_of", "check_lock", "is_locked", "lock_of"]
