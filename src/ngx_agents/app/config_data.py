"""Settings about users' own data: where attachments are kept, and how long each kind of data is."""

from __future__ import annotations

from typing import Annotated

from ngx_agents.app.setting import Section, setting


class RetentionConfig(Section, frozen=True, kw_only=True):
    """How many days users' own data and the audit log are kept; 0 keeps them. What belongs to an open turn stays."""

    messages_days: Annotated[
        float,
        setting("Questions with their answers, out of conversations that go on; 0 or at least 1.", bounds=(0, 36_500)),
    ] = 0.0
    artifacts_days: Annotated[float, setting("Plans and reports.", bounds=(0, 36_500))] = 0.0
    attachments_days: Annotated[float, setting("Images and documents.", bounds=(0, 36_500))] = 0.0
    weight_days: Annotated[float, setting("Logged weights, by when they held.", bounds=(0, 36_500))] = 0.0
    sleep_days: Annotated[float, setting("Logged nights.", bounds=(0, 36_500))] = 0.0
    workout_days: Annotated[float, setting("Logged workouts.", bounds=(0, 36_500))] = 0.0
    check_in_days: Annotated[float, setting("Logged check-ins.", bounds=(0, 36_500))] = 0.0
    nutrition_days: Annotated[float, setting("Logged meals.", bounds=(0, 36_500))] = 0.0
    audit_days: Annotated[float, setting("The log of what operators changed.", bounds=(0, 36_500))] = 730.0


class BlobsConfig(Section, frozen=True, kw_only=True):
    """Attachments. Their bytes are in the journal, or in an S3-compatible object store when `url` is set."""

    user_bytes: Annotated[
        int, setting("What one user's attachments may have together.", bounds=(0, 1_099_511_627_776))
    ] = 209_715_200
    url: Annotated[
        str | None, setting("Endpoint of the object store, such as https://s3.eu-central-1.amazonaws.com.")
    ] = None
    bucket: Annotated[str | None, setting("The bucket; it must be there.")] = None
    prefix: Annotated[str, setting("What all keys begin with: one for each journal, its orphans are removed.")] = "ngx/"
    region: Annotated[str, setting("The region that requests are signed for.")] = "us-east-1"
    access_key: Annotated[str | None, setting("Name of the key that signs.")] = None
    secret_key: Annotated[str | None, setting("The key that signs.", secret=True)] = None
    path_style: Annotated[
        bool, setting("Bucket in the path, as most servers of your own want it; off: in the host's name.")
    ] = True
    timeout_s: Annotated[float, setting("How long a call to the object store may take.", bounds=(0.1, 300))] = 10.0
