# Completion for fish: goe-exporter itself says what to complete.
_GOE_EXPORTER_COMPLETE=fish_source goe-exporter 2>/dev/null | source
