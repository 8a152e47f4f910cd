"""The projection of a collection that searches read: FAISS segments and a tantivy index, rebuilt at any time."""
