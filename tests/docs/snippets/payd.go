// payd from Go 1.20 or newer, without modules: create an order, verify a webhook.
//
//	go run payd.go create OUT_TRADE_NO FEN DESCRIPTION
//	go run payd.go verify ID TIMESTAMP SIGNATURE < raw-body
//
// PAYD_URL, PAYD_KEY and PAYD_WEBHOOK_SECRET come from the environment.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

var client = &http.Client{Timeout: 15 * time.Second}

// CreateOrder creates an order. Repeating it with the same idempotencyKey gives the same order, never a second one.
// The answer's code_url is to be shown as a QR code.
func CreateOrder(order map[string]any, idempotencyKey string) (map[string]any, error) {
	payload, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	url := os.Getenv("PAYD_URL")
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	request, err := http.NewRequest(http.MethodPost, url+"/pay/create", bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Api-Key", os.Getenv("PAYD_KEY"))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", idempotencyKey)
	answer, err := client.Do(request)
	if err != nil {
		return nil, err // unknown outcome: repeat with the same key
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return nil, err
	}
	if answer.StatusCode >= 400 {
		return nil, fmt.Errorf("%v: %v (request %v)", body["code"], body["detail"], body["request_id"])
	}
	return body, nil
}

// VerifyWebhook verifies a webhook over its raw body; parse the body only when it returns nil.
func VerifyWebhook(secret, id, timestamp, signatures string, rawBody []byte) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return errors.New("webhook: timestamp out of range")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(rawBody)
	wanted := mac.Sum(nil)
	for _, signature := range strings.Fields(signatures) {
		given, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(signature, "v1,"))
		if err == nil && strings.HasPrefix(signature, "v1,") && hmac.Equal(given, wanted) {
			return nil
		}
	}
	return errors.New("webhook: no matching signature")
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("payd.go create OUT_TRADE_NO FEN DESCRIPTION | verify ID TIMESTAMP SIGNATURE")
	}
	switch os.Args[1] {
	case "create":
		fen, err := strconv.Atoi(os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		order := map[string]any{
			"out_trade_no": os.Args[2],
			"description":  os.Args[4],
			"amount":       map[string]any{"total": fen},
		}
		body, err := CreateOrder(order, os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(body); err != nil {
			log.Fatal(err)
		}
	case "verify":
		rawBody, err := io.ReadAll(os.Stdin)
		if err != nil {
			log.Fatal(err)
		}
		if err := VerifyWebhook(os.Getenv("PAYD_WEBHOOK_SECRET"), os.Args[2], os.Args[3], os.Args[4], rawBody); err != nil {
			log.Fatal(err)
		}
		var event struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(rawBody, &event); err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type)
	}
}
