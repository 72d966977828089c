#!/bin/sh
# Handles the message in each line of its input, and answers with a line:
#   cargo run -- --set consumer.handler=examples/handlers/handler.sh --set consumer.handler_mode=lines
while IFS= read -r record; do
    id=${record#*'"id":"'} # the first field
    id=${id%%'"'*}
    order=${record#*'"encoding":"json","value":'} # the last field
    order=${order%'}'}
    case $order in
    *'"id"'*)
        printf 'order %s\n' "$order" >&2 # standard output is for answers
        printf '{"id":"%s","ok":true}\n' "$id"
        ;;
    *) printf '{"id":"%s","ok":false,"error":"an order without an id"}\n' "$id" ;;
    esac
done
