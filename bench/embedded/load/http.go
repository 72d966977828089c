package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// httpPeer is our HTTP endpoint, which makes the topic itself.
type httpPeer struct{ url string }

func newHTTPPeer(given *task) peer { return httpPeer{"http://" + given.address + "/enviar"} }

func (httpPeer) create() error { return nil }

func (httpPeer) count() (int64, error) { return 0, errors.New("ask the broker") }

func (httpPeer) close() {}

type httpSender struct {
	client http.Client
	url    string
}

func (server httpPeer) open(int) (sender, error) {
	client := http.Client{Transport: &http.Transport{}, Timeout: deadline}
	return &httpSender{client, server.url}, nil
}

func (connection *httpSender) send(body []byte) error {
	answer, err := connection.client.Post(connection.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	return nil
}

func (connection *httpSender) close() { connection.client.CloseIdleConnections() }
