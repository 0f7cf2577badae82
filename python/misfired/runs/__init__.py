"""Run folders, their manifests, and the pipeline that fills them."""
