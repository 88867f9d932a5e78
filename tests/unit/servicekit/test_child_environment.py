"""Children get no secrets."""

from __future__ import annotations

from servicekit.child_environment import without_secrets


def test_secrets_stay_behind_and_the_rest_goes_along() -> None:
    kept = {"PATH": "/bin", "BRANDLOOM_HOME": "/home", "HF_HUB_OFFLINE": "1"}
    secrets = {
        "BRANDLOOM_TOKEN": "t",
        "BRANDLOOM_S3_ACCESS_KEY": "a",
        "BRANDLOOM_S3_SECRET_KEY": "s",
        "BRANDLOOM_LABELER_DATABASE_URL": "postgresql+psycopg://u:p@h/d",
    }
    assert without_secrets({**kept, **secrets}) == kept
