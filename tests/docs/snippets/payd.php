<?php
// payd from PHP 8 with ext-curl: create an order, verify a webhook.
//
//   php payd.php create OUT_TRADE_NO FEN DESCRIPTION
//   php payd.php verify ID TIMESTAMP SIGNATURE < raw-body
//
// PAYD_URL, PAYD_KEY and PAYD_WEBHOOK_SECRET come from the environment.

declare(strict_types=1);

/** Create an order. Repeating it with the same $idempotencyKey gives the same order, never a second one. */
function createOrder(array $order, string $idempotencyKey): array
{
    $request = curl_init((getenv('PAYD_URL') ?: 'http://127.0.0.1:8080') . '/pay/create');
    curl_setopt_array($request, [
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => json_encode($order, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE),
        CURLOPT_HTTPHEADER => [
            'X-Api-Key: ' . getenv('PAYD_KEY'),
            'Content-Type: application/json',
            'Idempotency-Key: ' . $idempotencyKey,
        ],
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 15,
    ]);
    $text = curl_exec($request);
    if ($text === false) {
        throw new RuntimeException('payd: ' . curl_error($request)); // unknown outcome: repeat with the same key
    }
    $body = json_decode($text, true, 32, JSON_THROW_ON_ERROR);
    if (curl_getinfo($request, CURLINFO_RESPONSE_CODE) >= 400) {
        throw new RuntimeException("{$body['code']}: {$body['detail']} (request {$body['request_id']})");
    }
    return $body; // $body['code_url']: show it as a QR code
}

/** Verify a webhook over its raw body (file_get_contents('php://input')) and return the event. */
function verifyWebhook(string $secret, string $id, string $timestamp, string $signatures, string $rawBody): array
{
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        throw new RuntimeException('webhook: timestamp out of range');
    }
    $key = base64_decode((string) preg_replace('/^whsec_/', '', $secret));
    $wanted = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$rawBody", $key, true));
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals($wanted, $signature)) {
            return json_decode($rawBody, true, 32, JSON_THROW_ON_ERROR);
        }
    }
    throw new RuntimeException('webhook: no matching signature');
}

if (PHP_SAPI === 'cli' && ($argv[1] ?? '') === 'create') {
    [, , $outTradeNo, $fen, $description] = $argv;
    $order = ['out_trade_no' => $outTradeNo, 'description' => $description, 'amount' => ['total' => (int) $fen]];
    echo json_encode(createOrder($order, $outTradeNo), JSON_UNESCAPED_UNICODE), "\n";
} elseif (PHP_SAPI === 'cli' && ($argv[1] ?? '') === 'verify') {
    [, , $id, $timestamp, $signatures] = $argv;
    $body = (string) file_get_contents('php://stdin');
    echo verifyWebhook((string) getenv('PAYD_WEBHOOK_SECRET'), $id, $timestamp, $signatures, $body)['type'], "\n";
}
