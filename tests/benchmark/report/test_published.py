"""Published scores beside ours."""

from benchmark.catalog import task_cards
from benchmark.report.page import published


def test_every_published_score_of_a_card_is_shown_under_one_of_its_protocols() -> None:
    for card in task_cards():
        shown = [score for name in card.protocols for score in published(card.name, name)]
        assert sorted(map(str, shown)) == sorted(map(str, card.reference_scores)), card.name


def test_the_best_comes_first_and_foreign_protocols_stand_with_the_linear_probe() -> None:
    scores = published("esc50", "linear-probe")
    assert [score.value for score in scores] == sorted((s.value for s in scores), reverse=True)
    assert {score.protocol for score in scores} == {"linear-probe", "mlp"}
    assert {score.protocol for score in published("esc50", "knn")} == {"knn"}
    assert published("no-such-task", "knn") == []
