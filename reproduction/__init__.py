"""The whole paper, table by table and figure by figure: what it prints, what comes out here, and the difference."""
