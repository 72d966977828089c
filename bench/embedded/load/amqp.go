package main

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpPeer has a quorum queue for each partition.
type amqpPeer struct {
	given *task
	amqpSender
}

func newAmqpPeer(given *task) (peer, error) {
	connection, err := newAmqpSender(given, 0)
	return &amqpPeer{given, connection}, err
}

func (server *amqpPeer) create() error {
	for number := range partitions {
		how := amqp.Table{"x-queue-type": "quorum"}
		if _, err := server.channel.QueueDeclare(server.given.part(number), true, false, false, false, how); err != nil {
			return err
		}
	}
	return nil
}

func (server *amqpPeer) count() (int64, error) {
	var total int64
	for number := range partitions {
		queue, err := server.channel.QueueDeclarePassive(server.given.part(number), true, false, false, false, nil)
		if err != nil {
			return 0, err
		}
		total += int64(queue.Messages)
	}
	return total, nil
}

func (server *amqpPeer) open(number int) (sender, error) {
	connection, err := newAmqpSender(server.given, number)
	return &connection, err
}

// amqpSender is a connection with one channel, with publisher confirms.
type amqpSender struct {
	connection *amqp.Connection
	channel    *amqp.Channel
	queue      string
}

func newAmqpSender(given *task, number int) (amqpSender, error) {
	connection, err := amqp.Dial("amqp://guest:guest@" + given.address + "/")
	if err != nil {
		return amqpSender{}, err
	}
	channel, err := connection.Channel()
	if err == nil {
		err = channel.Confirm(false)
	}
	return amqpSender{connection, channel, given.part(number)}, err
}

func (connection *amqpSender) send(body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}
	confirmation, err := connection.channel.PublishWithDeferredConfirmWithContext(
		ctx, "", connection.queue, true, false, message)
	if err != nil {
		return err
	}
	acknowledged, err := confirmation.WaitContext(ctx)
	if err == nil && !acknowledged {
		err = errors.New("the server refused a message")
	}
	return err
}

func (connection *amqpSender) close() { connection.connection.Close() }
