"""Progress of the job that the page's address names, with Stop and Resume."""

from __future__ import annotations

import gradio as gr

from rosetta_ui.widgets.factory import Call, widget


def match_job(job: Call, stop: Call, resume: Call) -> gr.HTML:
    """Make the panel; it is hidden while the address names no job.

    Args:
        job: {job} → a snapshot: state, done, total, unit, rate, left, message, place, result, log,
            models, resumes, found (look by look: images, rosetta, pairs) and best.
        stop: {job} → {}.
        resume: {job} → {job}: the match goes on where it stopped.
    """
    return widget("match_job", {"job": job, "stop": stop, "resume": resume}, label="Progress")
