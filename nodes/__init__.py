"""ComfyUI nodes: schema, translate, one call, NodeOutput."""
