#!/bin/sh
# The same with curl: which models there are, a whole answer, a stream.
set -eu
url=${OPENAI_BASE_URL:-http://127.0.0.1:8080/v1}
key=${OPENAI_API_KEY:-none}

ask() {
    curl --silent --show-error --fail-with-body --no-buffer "$url/$1" \
        -H "Authorization: Bearer $key" -H "Content-Type: application/json" ${2:+-d "$2"}
    echo
}

ask models
ask chat/completions '{"model": "demo", "temperature": 0,
    "messages": [{"role": "user", "content": "What is the capital of France?"}]}'
ask chat/completions '{"model": "demo", "temperature": 0, "stream": true,
    "messages": [{"role": "user", "content": "Count from 1 to 3."}]}'
