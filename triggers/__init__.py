"""What training and serving must do identically: triggers, the frozen model, forward pass, counts, artifacts, stores."""
