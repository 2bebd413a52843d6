"""Recall and nDCG beside scikit-learn and the evaluator of sentence-transformers, on the same vectors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import ndcg_score
from sklearn.metrics.pairwise import cosine_similarity

from imbik.errors import UserError
from imbik.tasks.intervals import bootstrap_interval, paired_retention
from imbik.tasks.outputs import ragged
from imbik.tasks.ranking.relevance import Collection, document_target, query_target, ranks
from imbik.tasks.registry import less_is_better, task_of

TASK = task_of("embedding")
DOCUMENTS, QUERIES = 300, 40


@pytest.fixture
def drawn():
    """Vectors and targets of queries among documents, rows in a random order, and what each query wants by number of its document."""
    random = np.random.default_rng(1)
    documents = random.standard_normal((DOCUMENTS, 12)).astype(np.float32)
    wanted = [dict.fromkeys(random.choice(DOCUMENTS, random.integers(1, 5), replace=False).tolist(), 1) for _ in range(QUERIES)]
    graded = [{number: int(random.integers(1, 4)) for number in one} for one in wanted]
    queries = np.stack([documents[list(one)].mean(0) for one in wanted]) + random.standard_normal((QUERIES, 12)) * 0.6
    vectors = np.concatenate([queries.astype(np.float32), documents])
    order = random.permutation(len(vectors))

    def targets(grades):
        rows = [query_target(one) for one in grades] + [document_target(number) for number in range(DOCUMENTS)]
        return ragged(rows[row] for row in order)

    return vectors[order], targets(wanted), targets(graded), (queries.astype(np.float32), documents, wanted, graded)


def test_ndcg_is_scikit_learns_with_grades(drawn):
    vectors, binary, targets, (queries, documents, _, graded) = drawn
    cosines = cosine_similarity(queries, documents)
    for grades, own in ((graded, targets), ([dict.fromkeys(one, 1) for one in graded], binary)):
        truth = np.array([[one.get(number, 0) for number in range(DOCUMENTS)] for one in grades])
        assert TASK.score("ndcg@10", vectors, own) == pytest.approx(ndcg_score(truth, cosines, k=10), abs=1e-14)


def test_recall_and_ndcg_are_those_of_the_evaluator_of_sentence_transformers(drawn):
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    util = pytest.importorskip("sentence_transformers.util")
    vectors, targets, _, (queries, documents, wanted, _) = drawn

    class Given:
        """Gives the drawn vectors for the number that stands in a text."""

        similarity_fn_name = "cosine"
        model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_args, **_settings: None)

        def encode_query(self, texts, **_settings):
            return np.stack([queries[int(text)] for text in texts])

        def encode_document(self, texts, **_settings):
            return np.stack([documents[int(text)] for text in texts])

        def similarity(self, one, other):
            return util.cos_sim(one, other)

    names = {str(row): str(row) for row in range(DOCUMENTS)}
    evaluator = evaluation.InformationRetrievalEvaluator(
        {str(row): str(row) for row in range(QUERIES)},
        names,
        {str(row): {str(number) for number in one} for row, one in enumerate(wanted)},
        precision_recall_at_k=[1, 5, 10, 100],
        ndcg_at_k=[10],
        write_csv=False,
    )
    found = evaluator(Given())
    for name in ("ndcg@10", "recall@1", "recall@5", "recall@10", "recall@100"):
        value = next(value for key, value in found.items() if key.endswith(f"cosine_{name}"))
        assert TASK.score(name, vectors, targets) == pytest.approx(value, abs=1e-14), name


def test_only_queries_with_an_answer_count_and_documents_are_named_by_number():
    vectors = np.eye(4, dtype=np.float32)
    targets = ragged([query_target({7: 1}), document_target(7), document_target(9), query_target({8: 2})])
    collection = Collection.of(targets)
    assert collection.documents.tolist() == [1, 2] and collection.queries.tolist() == [0] and collection.grades == ({0: 1},)
    vectors[0] = vectors[1]
    assert TASK.score("recall@1", vectors, targets) == 1.0
    assert TASK.score("recall@1", vectors[[0, 2, 1]], targets[[0, 2, 1]]) == 1.0, "the order of the rows does not matter"
    assert np.isnan(TASK.score("recall@1", vectors[2:], targets[2:]))


def test_a_document_that_is_the_query_is_left_out():
    vectors = np.array([[1, 0], [1, 0], [0.9, 0.1]], np.float32)
    rows = [document_target(0), document_target(1)]
    assert TASK.score("recall@1", vectors, ragged([query_target({1: 1}), *rows])) == 0.0
    assert TASK.score("recall@1", vectors, ragged([query_target({1: 1}, itself=0), *rows])) == 1.0


def test_equal_cosines_stand_in_the_order_of_the_rows():
    vectors = np.ones((4, 3), np.float32)
    for number, value in ((0, 1.0), (1, 0.0)):
        targets = ragged([query_target({number: 1}), *map(document_target, range(3))])
        assert TASK.score("recall@1", vectors, targets) == value


def test_intervals_draw_queries(drawn):
    vectors, targets, _, (queries, documents, wanted, _) = drawn
    low, high = bootstrap_interval("ndcg@10", vectors, targets, "embedding", resamples=2000)
    cosines = cosine_similarity(queries, documents)
    each = np.array([ndcg_score([[n in one for n in range(DOCUMENTS)]], cosines[[row]], k=10) for row, one in enumerate(wanted)])
    by_hand = np.percentile(each[np.random.default_rng(5).integers(0, QUERIES, (4000, QUERIES))].mean(1), (2.5, 97.5))
    # as wide as a bootstrap of the queries alone: how many are drawn varies, what they are worth does not
    np.testing.assert_allclose((low, high), by_hand, atol=0.02)
    assert paired_retention("ndcg@10", vectors, vectors, targets, "embedding") == (1.0, 1.0, 1.0)


def test_the_metric_fits_the_data(drawn):
    _, targets, _, _ = drawn
    scores = np.zeros(3, np.float32)
    assert ranks(targets) and not ranks(scores)
    assert TASK.metric_of(targets).name == "ndcg@10" and TASK.metric_of(scores).name == "spearman"
    assert TASK.metric_of(targets, "recall@5").name == "recall@5" and not less_is_better("recall@5")
    with pytest.raises(UserError, match=r"not for this data.*spearman, and queries with documents.*ndcg@10 or recall@1"):
        TASK.metric_of(targets, "spearman")
    with pytest.raises(UserError, match=r"ndcg@10, and pairs with scores.*spearman or pearson"):
        TASK.metric_of(scores, "ndcg@10")
    with pytest.raises(UserError, match="no such metric"):
        TASK.metric_of(scores, "ndcg@7")
