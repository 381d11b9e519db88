// Talks to the simulator through wechatpay-axios-plugin and prints what it heard as one JSON object.
// Usage: node proof.mjs '{"base_url": ..., "mode": "public_key" | "certificate", ...}'   (run by test_node_sdk.py)
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Wechatpay, Aes, Formatter, Rsa } from 'wechatpay-axios-plugin';

const facts = JSON.parse(process.argv[2]);
const { mchid, appid } = facts;
const certs = facts.mode === 'certificate'
  ? { [facts.platform_serial_no]: readFileSync(facts.platform_cert_path) }
  : { [facts.public_key_id]: readFileSync(facts.public_key_path) };
const wxpay = new Wechatpay({
  mchid,
  serial: facts.merchant_serial_no,
  privateKey: readFileSync(facts.private_key_path),
  certs,
  baseURL: facts.base_url,
});
const control = async (path, body) => (await fetch(`${facts.base_url}/_sandbox/${path}`, {
  method: 'POST', body: JSON.stringify(body),
})).json();
const refused = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return { status: error.response?.status ?? null, code: error.response?.data?.code ?? error.code ?? error.name };
  }
};

const heard = {};
const order = {
  appid, mchid, description: '一杯茶', out_trade_no: facts.out_trade_no, notify_url: 'http://127.0.0.1:9/notify',
  amount: { total: 100, currency: 'CNY' },
};
const { data: { code_url: codeUrl } } = await wxpay.v3.pay.transactions.native.post(order);
heard.code_url = codeUrl;
heard.changed = await refused(() => wxpay.v3.pay.transactions.native.post({ ...order, description: '两杯茶' }));
heard.unknown = await refused(() => wxpay.v3.pay.transactions.outTradeNo['{out_trade_no}']
  .get({ params: { mchid }, out_trade_no: 'nobody-knows-it' }));

const paid = await control('pay', { code_url: codeUrl });
const { data: byId } = await wxpay.v3.pay.transactions.id['{transaction_id}']
  .get({ params: { mchid }, transaction_id: paid.transaction_id });
heard.query = { trade_state: byId.trade_state, out_trade_no: byId.out_trade_no };

const { data: refund } = await wxpay.v3.refund.domestic.refunds.post({
  out_trade_no: order.out_trade_no, out_refund_no: `${order.out_trade_no}-r`,
  amount: { refund: 40, total: 100, currency: 'CNY' },
});
heard.refund = refund.status;
await control('clock', { advance_seconds: 1 });
const { data: settled } = await wxpay.v3.refund.domestic.refunds['{out_refund_no}']
  .get({ out_refund_no: `${order.out_trade_no}-r` });
heard.refund_query = settled.status;

const second = `${order.out_trade_no}-b`;
await wxpay.v3.pay.transactions.native.post({ ...order, out_trade_no: second });
const { status: closed } = await wxpay.v3.pay.transactions.outTradeNo['{out_trade_no}'].close
  .post({ mchid }, { out_trade_no: second });
heard.close = closed;

await control('clock', { advance_seconds: 2 * 86400 });
const { data: bill } = await wxpay.v3.bill.tradebill
  .get({ params: { bill_date: paid.success_time.slice(0, 10), tar_type: 'GZIP' } });
// The SDK skips verification for this path only when it is given as a path.
const { data: file } = await wxpay.v3.billdownload.file.get({
  params: Object.fromEntries(new URL(bill.download_url).searchParams), responseType: 'arraybuffer',
});
const plain = gunzipSync(file);
const { rows, summary } = Formatter.castCsvBill(plain);
heard.bill = {
  hash_matches: createHash('sha1').update(plain).digest('hex') === bill.hash_value,
  rows: rows.map((row) => [row['交易状态'], row['商户订单号'], row['订单金额'], row['申请退款金额']]).sort(),
  summary,
};

heard.certificates = await refused(async () => {
  const { data: { data } } = await wxpay.v3.certificates.get();
  const [{ serial_no: serial, encrypt_certificate: sealed }] = data;
  const pem = Aes.AesGcm.decrypt(sealed.ciphertext, facts.api_v3_key, sealed.nonce, sealed.associated_data);
  heard.certificate = { serial, same: pem.trim() === readFileSync(facts.platform_cert_path, 'utf8').trim() };
});

await control('faults', { target: 'query', kind: 'wrong_signature' });
heard.forged = await refused(() => wxpay.v3.pay.transactions.outTradeNo['{out_trade_no}']
  .get({ params: { mchid }, out_trade_no: order.out_trade_no }));

const params = { appId: appid, timeStamp: `${Formatter.timestamp()}`, nonceStr: Formatter.nonce(), signType: 'RSA' };
const jsapi = `${order.out_trade_no}-j`;
const { data: { prepay_id: prepayId } } = await wxpay.v3.pay.transactions.jsapi
  .post({ ...order, out_trade_no: jsapi, payer: { openid: 'oUser' } });
params.package = `prepay_id=${prepayId}`;
params.paySign = Rsa.sign(
  Formatter.joinedByLineFeed(params.appId, params.timeStamp, params.nonceStr, params.package),
  readFileSync(facts.private_key_path));
heard.pay_params = (await control('pay', { out_trade_no: jsapi, pay_params: params })).trade_state;

console.log(JSON.stringify(heard));
