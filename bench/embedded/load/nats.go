package main

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsPeer has a stream in files for each partition.
type natsPeer struct {
	given      *task
	connection *nats.Conn
	stream     jetstream.JetStream
}

func newNatsPeer(given *task) (peer, error) {
	connection, stream, err := natsConnection(given)
	return &natsPeer{given, connection, stream}, err
}

func natsConnection(given *task) (*nats.Conn, jetstream.JetStream, error) {
	connection, err := nats.Connect("nats://" + given.address)
	if err != nil {
		return nil, nil, err
	}
	stream, err := jetstream.New(connection)
	return connection, stream, err
}

func (server *natsPeer) create() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for number := range partitions {
		name := server.given.part(number)
		config := jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.FileStorage}
		if _, err := server.stream.CreateStream(ctx, config); err != nil {
			return err
		}
	}
	return nil
}

func (server *natsPeer) count() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var total int64
	for number := range partitions {
		stream, err := server.stream.Stream(ctx, server.given.part(number))
		if err != nil {
			return 0, err
		}
		total += int64(stream.CachedInfo().State.Msgs)
	}
	return total, nil
}

func (server *natsPeer) close() { server.connection.Close() }

type natsSender struct {
	connection *nats.Conn
	stream     jetstream.JetStream
	subject    string
}

func (server *natsPeer) open(number int) (sender, error) {
	connection, stream, err := natsConnection(server.given)
	return &natsSender{connection, stream, server.given.part(number)}, err
}

func (connection *natsSender) send(body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	_, err := connection.stream.Publish(ctx, connection.subject, body)
	return err
}

func (connection *natsSender) close() { connection.connection.Close() }
