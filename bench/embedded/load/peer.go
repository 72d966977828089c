package main

import (
	"fmt"
	"time"
)

// partitions is how many partitions, streams or queues the messages go to.
const partitions = 4

// deadline is the longest that anything may take by itself.
const deadline = 20 * time.Second

// peer is a server.
type peer interface {
	// create makes the topic, or the streams or queues that stand for its partitions.
	create() error
	// open gives a connection of its own, the one of this number.
	open(number int) (sender, error)
	// count says how many messages are stored.
	count() (int64, error)
	close()
}

// sender is a connection on which one message at a time is under way.
type sender interface {
	// send returns when the message is acknowledged.
	send(body []byte) error
	close()
}

func (given *task) connect() (peer, error) {
	switch given.kind {
	case "kafka":
		return newKafkaPeer(given)
	case "nats":
		return newNatsPeer(given)
	case "amqp":
		return newAmqpPeer(given)
	case "http":
		return newHTTPPeer(given), nil
	}
	return nil, fmt.Errorf("no kind of server: %s", given.kind)
}

// with calls what is wanted with the server, and lets go of it.
func (given *task) with(wanted func(peer) error) error {
	server, err := given.connect()
	if err != nil {
		return err
	}
	defer server.close()
	return wanted(server)
}

// part names one of the streams or queues.
func (given *task) part(number int) string {
	return fmt.Sprintf("%s-%d", given.topic, number%partitions)
}
