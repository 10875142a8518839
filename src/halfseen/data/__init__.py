"""Data sets, their variants, cues, transforms and loading. No models here."""
