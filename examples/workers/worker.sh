#!/bin/sh
# Receives messages over HTTP one by one, handles each, and says what became of it. The address is its argument.
url=${1:-http://127.0.0.1:5000}

post() { curl -sSf --retry 100 --retry-delay 1 -d "$2" "$url$1"; } # again after a 503

handle() { # what it prints on standard error is why it failed
    case $1 in *'"id"'*) printf 'order %s\n' "$1" ;; *) echo 'an order without an id' >&2 && false ;; esac
}

while answer=$(post '/recibir?wait_ms=20000&lease_ms=30000' ''); do
    case $answer in *'"receipt":"'*) ;; *) continue ;; esac # nobody has sent anything
    receipt=${answer#*'"receipt":"'} # the first field
    receipt=${receipt%%'"'*}
    order=${answer#*'"encoding":"json","value":'} # the last one
    order=${order%'}]}'}
    if handle "$order"; then
        post /confirmar "{\"receipts\":[\"$receipt\"]}" >/dev/null
    else
        post /devolver "{\"receipts\":[\"$receipt\"],\"error\":\"an order without an id\"}" >/dev/null
    fi
done
