"""Settings about users' own data: how long each kind is kept."""

from __future__ import annotations

from typing import Annotated

from ngx_agents.app.setting import Section, setting


class RetentionConfig(Section, frozen=True, kw_only=True):
    """How many days users' own data are kept; 0 keeps them. Nothing of a conversation with a turn open is removed."""

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
