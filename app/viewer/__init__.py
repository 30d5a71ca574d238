"""The panes and what they show. `view_state`, `pictures`, `layers`, `pane_state` and `overlays` know nothing of Qt."""
