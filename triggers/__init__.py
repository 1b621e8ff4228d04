"""What training and serving must do identically: triggers, the frozen model, the forward pass, counts, artifacts, stores."""
