"""The panes and what they show. `view_state`, `slicing`, `boxes` and `overlays` know nothing of Qt."""
