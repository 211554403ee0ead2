"""The section `auto:` of `distill.yaml`: one budget for a whole job, and how it is shared out."""

from __future__ import annotations

from pydantic import Field

from mwalimu.config.section import Section


class AutoConfig(Section):
    """Of `mwalimu run --auto`; no stage of the job itself reads any of it."""

    budget: str | None = Field(
        None, description="6h, 20usd, 30trials, or several by comma; dollars are all the job's"
    )
    buying: float = Field(
        0.5, gt=0, le=1, description="share of hours and dollars that buying in rounds may take"
    )
    tuning: float = Field(
        0.75, gt=0, le=1, description="share of what is then left that the search may take"
    )
