"""The proxy: an OpenAI-compatible server that routes each chat call before it passes it on.

``wattroute serve`` runs it. The modules, from the wire inwards:

``http_response``, ``upstream``
    reading HTTP responses, and the pool of connections to the upstream
``json_body``, ``problems``
    what a client may send, and the errors it gets
``chat``, ``passthrough``, ``control``, ``app``
    the endpoints and the ASGI application of them
``shared_values``, ``metrics``, ``decision_log``, ``tracing``
    what operators see
``live_router``, ``workers``
    changing the router while serving, and the processes that serve

Nothing is imported here: the readers of the decision log need neither starlette nor uvicorn.
"""
