"""Other ways to link W, each as one script that is run in a process of its own.

Every script prints a JSON object: the seconds of what grows with its `rows` (DBSCAN its processor seconds, too), and
the tokens of the largest component where it tells components. The notebook's cells are those of 1.4h, after the
distance matrix of 1.4b, whose text isn't at hand: torch.cdist is taken for it.
"""

# The last rows of W, as many as the notebook's window of the sky has.
NOTEBOOK = """
import json, time
from collections import Counter
import scipy.sparse as sp
import torch
from safetensors.torch import load_file
from scipy.sparse.csgraph import connected_components
W = load_file({path!r})["W"][-{rows}:].to(torch.float32)
began = time.perf_counter()
dists = torch.cdist(W, W)
adjacency = (dists < {threshold}).float()
adjacency.fill_diagonal_(0)
adjacency_sparse = sp.csr_matrix(adjacency.numpy())
n_components, labels = connected_components(csgraph=adjacency_sparse, directed=False, return_labels=True)
largest = max(Counter(labels).values())
print(json.dumps(dict(rows=len(W), seconds=time.perf_counter() - began, largest=largest)))
"""

# Pairs only: components would come on top. The queries are spread evenly over the vocabulary.
FAISS = """
import json, time
import faiss
import numpy as np
import torch
from safetensors.torch import load_file
W = load_file({path!r})["W"].to(torch.float32).numpy()
index = faiss.IndexFlatL2(W.shape[1])
index.add(W)
queries = W[np.linspace(0, len(W) - 1, {rows}).astype(int)]
began = time.perf_counter()
limits, squared, ids = index.range_search(queries, {radius} ** 2)
print(json.dumps(dict(rows=len(queries), seconds=time.perf_counter() - began)))
"""

# With min_samples=1, clusters are components: of rows spread evenly over the vocabulary.
DBSCAN = """
import json, time
import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.cluster import DBSCAN
W = load_file({path!r})["W"]
subset = W[np.linspace(0, len(W) - 1, {rows}).astype(int)].to(torch.float32).numpy()
began, cpu = time.perf_counter(), time.process_time()
labels = DBSCAN(eps={threshold}, min_samples=1, algorithm={algorithm!r}, n_jobs=-1).fit(subset).labels_
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps(dict(rows=len(subset), seconds=seconds, cpu=cpu, largest=int(np.bincount(labels).max()))))
"""
