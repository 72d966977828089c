// The load of bench/embedded: publishes and reads, and prints what it measured as one line of JSON.
//
// Each connection has one message under way: it waits for the acknowledgement and sends the next one then.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// task is what the command line asks for.
type task struct {
	kind, address, topic string
	config               map[string]string
	connections          int
	messages, bytes      int
	rate                 int
	warm, seconds        time.Duration
	pids                 []int
}

var commands = map[string]func(*task) (any, error){
	"create":  create,
	"first":   first,
	"publish": publish,
	"count":   count,
	"fill":    fill,
	"read":    read,
	"cycle":   cycle,
	"gap":     gap,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fail(fmt.Errorf("the first word is create, first, publish, count, fill, read, cycle or gap"))
	}
	given, err := parse(os.Args[2:])
	if err != nil {
		fail(err)
	}
	printed, err := commands[os.Args[1]](given)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(printed); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}

func parse(words []string) (*task, error) {
	var given task
	var warm, seconds float64
	var pids, config string
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	flags.StringVar(&given.kind, "kind", "kafka", "kafka, nats, amqp, or http")
	flags.StringVar(&given.address, "address", "", "host:port of the server")
	flags.StringVar(&given.topic, "topic", "", "the topic, or how the streams' and queues' names begin")
	flags.StringVar(&config, "config", "", "a configuration of the topic, name=value")
	flags.IntVar(&given.connections, "connections", 1, "connections that publish")
	flags.IntVar(&given.messages, "messages", 0, "messages to fill in or to read")
	flags.IntVar(&given.bytes, "bytes", 250, "bytes of a message")
	flags.IntVar(&given.rate, "rate", 0, "messages a second that cycle reads at most; 0: no limit")
	flags.Float64Var(&warm, "warm", 1, "seconds before the measured ones")
	flags.Float64Var(&seconds, "seconds", 3, "seconds that are measured")
	flags.StringVar(&pids, "pids", "", "the processes of the server; gap kills the first of them")
	if err := flags.Parse(words); err != nil {
		return nil, err
	}
	given.warm = time.Duration(warm * float64(time.Second))
	given.seconds = time.Duration(seconds * float64(time.Second))
	if name, value, found := strings.Cut(config, "="); found {
		given.config = map[string]string{name: value}
	}
	for _, word := range strings.FieldsFunc(pids, func(r rune) bool { return r == ',' }) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		given.pids = append(given.pids, pid)
	}
	return &given, nil
}

// body is a message in JSON, of as many bytes as are asked for.
func (given *task) body() []byte {
	const begin, end = `{"id":1,"contenido":"`, `"}`
	return []byte(begin + strings.Repeat("x", max(0, given.bytes-len(begin)-len(end))) + end)
}
