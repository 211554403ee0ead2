"""The models of a run on the nodes of a Ray cluster; `ray` is imported in this room alone.

The driver owns all that lasts: the answer store, the journal, the budget, the limiter, the run
folder. A node holds nothing that its death could lose.
"""
