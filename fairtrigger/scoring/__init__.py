"""Scoring of files: every row of a stranger's data under one or several versions, once, whatever happens meanwhile."""

from fairtrigger.scoring.batch_scorer import BatchScorer
from fairtrigger.scoring.score_file import read_scores
from fairtrigger.scoring.score_job import ScoreResult, score
from fairtrigger.scoring.version_choice import ScoringVersion, choose_versions

__all__ = ["BatchScorer", "ScoreResult", "ScoringVersion", "choose_versions", "read_scores", "score"]
