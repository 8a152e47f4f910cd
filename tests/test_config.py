"""Settings come from the environment, and nothing there is silently without effect."""

from __future__ import annotations

import logging

import pytest

from app.bootstrap import build_core
from app.config import Settings


def test_a_name_that_is_no_setting_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip, or the name that a setting had in an older version, is warned of at every start."""
    monkeypatch.setenv("FOOTNOTE_TOPK", "3")
    monkeypatch.setenv("FOOTNOTE_TOP_K", "3")
    monkeypatch.setenv("FOOTNOTE_LLM_TIMEOUTS__TOKEN_SECONDS", "3")
    assert settings.unknown_variables == ["FOOTNOTE_TOPK"]
    with caplog.at_level(logging.WARNING), build_core(settings):
        pass
    assert "FOOTNOTE_TOPK is no setting" in caplog.text
