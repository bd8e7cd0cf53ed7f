"""Every way to hold a matrix gives the same products; nothing is densified, changed, or left to the thread's whim."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info

from planted import planted
from scprograms._core.operators.centred import CenteredOperator
from scprograms._core.operators.dispatch import as_operator
from scprograms._core.operators.in_memory import DenseOperator, in_memory
from scprograms._core.sums import squared_norm, sum_of_products
from scprograms._core.threads import map_blocks, resolve_n_jobs, threads
from scprograms.programs.engine import SemiNMF

CLASSES = [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array]


def small(dtype=np.float64, *, n_obs=37, n_vars=23, seed=0) -> np.ndarray:
    """Signed where the dtype allows it; an empty first, middle and last row and column are in it."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 9, size=(n_obs, n_vars)) * (rng.random((n_obs, n_vars)) < 0.4)
    if np.dtype(dtype).kind not in "bu":
        X = X * rng.choice([-1, 1], size=X.shape)
    X[[0, n_obs // 2, -1]] = 0
    X[:, [0, n_vars // 2, -1]] = 0
    return X.astype(dtype)


def as_memmap(X, folder):
    path = folder / "X.dat"
    array = np.memmap(path, dtype=X.dtype, mode="w+", shape=X.shape)
    array[:] = X
    array.flush()
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


def readonly(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def readonly_csr(X):
    X = sparse.csr_matrix(X)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    return X


def int64_indices(X):
    X = sparse.csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    assert X.indices.dtype == np.int64
    return X


def unsorted(X):
    X = sparse.csr_matrix(X)
    for i in range(X.shape[0]):
        entries = slice(X.indptr[i], X.indptr[i + 1])
        X.indices[entries], X.data[entries] = X.indices[entries][::-1].copy(), X.data[entries][::-1].copy()
    X.has_sorted_indices = False
    return X


def duplicated(X, cls=sparse.csr_matrix):
    """Every entry in two parts, which are not neighbours, and an explicit zero."""
    X = cls(X)
    data, indices, indptr = [], [], [0]
    for i in range(len(X.indptr) - 1):
        d, j = X.data[X.indptr[i] : X.indptr[i + 1]], X.indices[X.indptr[i] : X.indptr[i + 1]]
        data += [*(d - 3), *([3] * len(d)), 0]
        indices += [*j, *j, 1]
        indptr.append(len(data))
    result = cls((np.array(data, dtype=X.dtype), np.array(indices), np.array(indptr)), shape=X.shape)
    assert not result.has_canonical_format
    return result


HOLDERS = {
    "C": lambda X: np.ascontiguousarray(X),
    "F": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "readonly": readonly,
    "readonly-csr": readonly_csr,
    "int64-indices": int64_indices,
    "unsorted": unsorted,
    "duplicated-csr": duplicated,
    "duplicated-csc": lambda X: duplicated(X, sparse.csc_array),
    **{cls.__name__: cls for cls in CLASSES},
    "coo": sparse.coo_array,
    "lil": sparse.lil_matrix,
}


def assert_operator_equals(op, dense, *, rtol):
    rng = np.random.default_rng(1)
    B, A = rng.normal(size=(dense.shape[1], 5)), rng.normal(size=(dense.shape[0], 5))
    center = rng.normal(size=dense.shape[1])
    dense = dense.astype(np.float64)
    size = max(np.abs(dense).max(), 1) * max(dense.shape)
    np.testing.assert_allclose(op.matmul(B), dense @ B, rtol=0, atol=rtol * size)
    np.testing.assert_allclose(op.rmatmul(A), dense.T @ A, rtol=0, atol=rtol * size)
    np.testing.assert_allclose(op.column_sums(), dense.sum(axis=0), rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(op.squared_deviations(center), ((dense - center) ** 2).sum(axis=0), rtol=1e-12)
    assert squared_norm(op) == pytest.approx((dense**2).sum(), rel=1e-12)
    assert op.shape == dense.shape
    assert op.matmul(B).dtype == op.rmatmul(A).dtype == op.dtype
    assert op.column_sums().dtype == op.squared_deviations(center).dtype == np.float64


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_products_equal_numpy(holder, dtype, rtol):
    dense = small(dtype)
    op = as_operator(HOLDERS[holder](dense))
    assert op.dtype == dtype
    assert_operator_equals(op, dense, rtol=rtol)


def test_products_of_a_memmap_equal_numpy(tmp_path):
    dense = small(np.float32)
    assert_operator_equals(as_operator(as_memmap(dense, tmp_path)), dense, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool])
@pytest.mark.parametrize("cls", [np.asarray, *CLASSES])
def test_whole_numbers_become_float64_row_7(dtype, cls):
    dense = small(dtype)
    op = as_operator(cls(dense))
    assert op.dtype == np.float64
    assert_operator_equals(op, dense, rtol=1e-14)


@pytest.mark.parametrize(
    ("dtype", "held"), [(np.float16, np.float32), (">f4", np.float64), (np.longdouble, np.float64)]
)
def test_other_floats_are_cast_row_8(dtype, held):
    # Only dense: scipy has no sparse matrix of half precision, nor one in the other byte order.
    op = as_operator(small(dtype))
    assert op.dtype == held
    assert_operator_equals(op, small(), rtol=1e-6)


@pytest.mark.parametrize("cls", [np.asarray, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("shape", [(9_001, 7), (7, 9_001), (3, 900)])
def test_many_blocks_and_long_rows(cls, shape):
    """More rows than a block holds, on either side, and rows longer than the kernel's partial sums."""
    dense = np.random.default_rng(0).gamma(1, size=shape) * (np.random.default_rng(1).random(shape) < 0.9)
    for dtype, rtol in ((np.float64, 1e-14), (np.float32, 1e-7)):
        with threads(2):
            assert_operator_equals(as_operator(cls(dense.astype(dtype))), dense.astype(dtype), rtol=rtol)


@pytest.mark.parametrize("cls", [np.asarray, *CLASSES])
def test_a_matrix_of_zeros_and_one_of_a_single_entry(cls):
    for dense in (np.zeros((4, 3)), np.eye(1), np.zeros((1, 5)), np.zeros((5, 1))):
        assert_operator_equals(as_operator(cls(dense)), dense, rtol=1e-14)


@pytest.mark.parametrize("holder", HOLDERS)
def test_centred_operator_equals_the_centred_and_scaled_matrix(holder):
    dense = small()
    rng = np.random.default_rng(2)
    center, scale = rng.normal(size=dense.shape[1]), rng.uniform(0.5, 2, size=dense.shape[1])
    base = as_operator(HOLDERS[holder](dense))
    assert_operator_equals(CenteredOperator(base, center, scale), (dense - center) / scale, rtol=1e-14)
    assert_operator_equals(CenteredOperator(base, center), dense - center, rtol=1e-14)


def test_an_operator_is_wrapped_once():
    op = as_operator(small())
    assert as_operator(op) is op
    assert isinstance(op, DenseOperator)


def test_sums_over_cells_are_in_double_precision_row_9():
    """A float32 running sum of 200,000 values near 1,000 is wrong in its sixth digit."""
    X = (1000 + np.random.default_rng(0).random((200_000, 1))).astype(np.float32)
    mean = X.astype(np.float64).mean()
    for held in (X, sparse.csr_array(X), sparse.csc_array(X)):
        op = as_operator(held)
        assert op.column_sums()[0] / len(X) == pytest.approx(mean, rel=1e-13)
        variance = op.squared_deviations(np.array([mean]))[0] / len(X)
        assert variance == pytest.approx(X.astype(np.float64).var(), rel=1e-10)
    np.testing.assert_allclose(sum_of_products(X, X)[0, 0], np.square(X.astype(np.float64)).sum(), rtol=1e-6)


# --- never densified, never changed --------------------------------------------------------------------------------


@pytest.fixture
def no_densifying(monkeypatch):
    def refuse(self, *args, **kwargs):
        msg = "a sparse matrix was densified"
        raise AssertionError(msg)

    for name in ("csr", "csc", "coo", "lil", "bsr", "dok", "dia"):
        for kind in ("matrix", "array"):
            cls = getattr(sparse, f"{name}_{kind}")
            for method in ("toarray", "todense", "A", "__array__"):
                if hasattr(cls, method):
                    monkeypatch.setattr(cls, method, refuse)


FITS = [
    {},
    {"center": "mean", "scale": True},
    {"center": "control", "scale": True},
    {"fit_intercept": True},
    {"solver": "mu", "max_iter": 5, "tol": 0},
    *({"init": init} for init in ("svd", "kmeans", "nndsvd", "random")),
]


def test_the_guard_against_densifying_can_fail(no_densifying):
    with pytest.raises(AssertionError, match="densified"):
        sparse.csr_matrix(np.eye(2)).toarray()


@pytest.mark.filterwarnings("ignore:The error still changed by more than tol")  # the penalty drags the closed form
@pytest.mark.parametrize("kwargs", FITS, ids=str)
@pytest.mark.parametrize("cls", [sparse.csr_matrix, sparse.csc_array])
def test_a_fit_neither_densifies_nor_changes_its_input(kwargs, cls, no_densifying):
    dense, _, _ = planted(150, 60, 4)
    X = cls(dense)
    before = X.data.tobytes(), X.indices.tobytes(), X.indptr.tobytes()
    control = np.arange(150) < 30
    model = SemiNMF(4, random_state=0, **kwargs)
    W = model.fit_transform(X, control=control)
    model.transform(X)
    model.loadings_of(X, W, control=control)
    assert (X.data.tobytes(), X.indices.tobytes(), X.indptr.tobytes()) == before


def test_non_canonical_entries_are_merged_in_a_copy_row_14():
    dense = small()
    X = duplicated(dense)
    before = X.data.tobytes(), X.indices.tobytes(), X.indptr.tobytes()
    W = SemiNMF(3, random_state=0).fit_transform(X)
    assert (X.data.tobytes(), X.indices.tobytes(), X.indptr.tobytes()) == before
    np.testing.assert_allclose(W, SemiNMF(3, random_state=0).fit_transform(dense), atol=1e-8)


def test_nothing_of_the_size_of_the_dense_matrix_is_allocated():
    import tracemalloc

    X = sparse.random(4000, 3000, density=0.01, format="csr", dtype=np.float32, random_state=0)
    model = SemiNMF(4, random_state=0, center="mean", scale=True, n_jobs=1)
    model.fit(X[:200])  # compile first
    tracemalloc.start()
    model.fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4000 * 3000 * 4 / 8


# --- threads -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tall():
    """Three blocks of rows."""
    return planted(9_000, 40, 4, signed=True, dtype=np.float32)[0]


@pytest.mark.parametrize("cls", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("kwargs", [{}, {"scale": True}, {"solver": "mu", "max_iter": 5, "tol": 0}], ids=str)
def test_threads_and_repetition_do_not_change_a_bit(cls, kwargs, tall):
    fits = []
    for n_jobs in (1, 2, 2, None, 5):
        model = SemiNMF(4, random_state=0, n_jobs=n_jobs, **kwargs)
        W = model.fit_transform(cls(tall))
        fits.append((W.tobytes(), model.components_.tobytes(), model.error_, model.transform(cls(tall)).tobytes()))
    assert all(fit == fits[0] for fit in fits)


def test_wide_csc_and_csr_are_the_same_for_any_number_of_threads():
    X = np.ascontiguousarray(planted(9_000, 40, 4, dtype=np.float32)[0].T)
    for cls in (sparse.csr_matrix, sparse.csc_matrix):
        one, two = (SemiNMF(4, random_state=0, n_jobs=n).fit_transform(cls(X)).tobytes() for n in (1, 2))
        assert one == two


def test_blocks_come_in_order_and_errors_come_through():
    with threads(2):
        assert list(map_blocks(lambda a, b: (a, b), 10, rows_per_block=4)) == [(0, 4), (4, 8), (8, 10)]
        assert list(map_blocks(lambda a, b: a, 0)) == []
        with pytest.raises(ZeroDivisionError):
            list(map_blocks(lambda a, b: 1 // a, 10, rows_per_block=4))


def test_the_blas_has_one_thread_meanwhile():
    """Its own threads would split sums differently for each number of them."""
    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    with threads(2):
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
    assert [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"] == before
    if max(before) == 1:
        pytest.skip("this machine allows the BLAS one thread anyway")


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_overlapping_contexts_leave_the_blas_as_it_was():
    """Four threads enter one after the other and leave in the same order: none of them is the outermost."""
    entered, may_leave, left = ([threading.Event() for _ in range(4)] for _ in range(3))
    all_left, seen = threading.Event(), []

    def work(i):
        with threads(1), threads(1):
            seen.append(blas_threads())
            entered[i].set()
            may_leave[i].wait(60)
            seen.append(blas_threads())
        left[i].set()
        all_left.wait(60)  # a thread that goes on living keeps what it holds of the BLAS

    before = threadpool_info()
    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker, event in zip(workers, entered, strict=True):
        worker.start()
        event.wait(60)
    for leave, gone in zip(may_leave, left, strict=True):
        leave.set()
        gone.wait(60)
    assert threadpool_info() == before
    all_left.set()
    for worker in workers:
        worker.join()
    assert len(seen) == 8
    assert all(set(limits) == {1} for limits in seen)


def test_overlapping_fits_leave_the_blas_as_it_was():
    X = planted(300, 60, 3)[0]
    SemiNMF(3, random_state=0).fit(X)  # loads what it needs
    before = threadpool_info()
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: SemiNMF(3, random_state=0).fit_transform(X), range(12)))
        assert threadpool_info() == before
    assert threadpool_info() == before
    for W in fits[1:]:
        np.testing.assert_array_equal(W, fits[0])


@pytest.mark.parametrize(("n_jobs", "error"), [(0, ValueError), (-2, ValueError), (True, TypeError), ("2", TypeError)])
def test_n_jobs_row_35(n_jobs, error):
    with pytest.raises(error, match=f"n_jobs={n_jobs!r}"):
        resolve_n_jobs(n_jobs)


def test_all_threads():
    assert resolve_n_jobs(None) == resolve_n_jobs(-1) >= 1
    assert resolve_n_jobs(np.int64(2)) == 2


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_some_rows_are_those_cut_out(holder, dtype, rtol):
    rng = np.random.default_rng(5)
    X = rng.poisson(0.5, size=(9000, 23)).astype(dtype)
    rows = np.sort(rng.choice(9000, 5000, replace=False))
    assert_operator_equals(in_memory(HOLDERS[holder](X)).rows(rows), X[rows], rtol=rtol)


@pytest.mark.parametrize("holder", [np.asarray, sparse.csr_matrix])
def test_rows_are_not_copied(holder):
    X = holder(np.random.default_rng(0).poisson(1.0, size=(60_000, 100)).astype(np.float32))
    op, rows = in_memory(X), np.arange(0, 60_000, 2)
    B = np.ones((100, 4), dtype=np.float32)
    op.rows(rows).matmul(B)  # compile
    tracemalloc.start()
    op.rows(rows).matmul(B)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * len(rows) * 100 * 4


def test_rows_of_duplicate_entries_are_merged():
    X = sparse.csr_matrix(([1.0, 2.0, 4.0], [1, 1, 0], [0, 2, 3]), shape=(2, 3))
    np.testing.assert_allclose(in_memory(X).rows(np.array([0])).squared_deviations(np.zeros(3)), [0, 9, 0])
    assert X.nnz == 3
