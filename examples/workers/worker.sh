#!/bin/sh
# Receives messages over HTTP one by one, handles each, and says what became of it. The address is its argument.
url=${1:-http://127.0.0.1:5000}

handle() { # what it prints on standard error is why it failed
    case $1 in *'"id"'*) printf 'order %s\n' "$1" ;; *) echo 'an order without an id' >&2 && false ;; esac
}

while answer=$(curl -sSf -d '' "$url/recibir?wait_ms=20000&lease_ms=30000"); do
    case $answer in *'"receipt":"'*) ;; *) continue ;; esac # nobody has sent anything
    receipt=${answer#*'"receipt":"'} # the first field
    receipt=${receipt%%'"'*}
    order=${answer#*'"encoding":"json","value":'} # the last one
    order=${order%'}]}'}
    if handle "$order"; then
        curl -sSf -o /dev/null -d "{\"receipts\":[\"$receipt\"]}" "$url/confirmar"
    else
        curl -sSf -o /dev/null -d "{\"receipts\":[\"$receipt\"],\"error\":\"an order without an id\"}" "$url/devolver"
    fi
done
