// A portal's client of Lettrage: Node 18 or newer, no package. What its commands do is in README.md beside it.

import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import process from 'node:process'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

const VIEWS = ['payable', 'history', 'direct_debit']
const TIMEOUT_MILLISECONDS = 10_000 // longer than a payment's start waits for its outcome
const TRIES = 3
const TOLERANCE_SECONDS = 300 // how old a notification may be, or how far ahead its sender's clock
const { LETTRAGE_URL, LETTRAGE_TOKEN, PORTAL_WEBHOOK_SECRET } = process.env

/** The answer is no, and would be again. */
class Refused extends Error {}

/** No answer yet; the same again is safe. */
class TryLater extends Error {}

/** One request and its answer. After a time-out, a broken connection, a 429 or a 5xx the same is sent again. */
async function call(path, body, headers) {
  let why
  for (let attempt = 0; attempt < TRIES; attempt++) {
    await sleep(attempt * 1000)
    try {
      const answer = await fetch(LETTRAGE_URL + path, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { Authorization: `Bearer ${LETTRAGE_TOKEN}`, ...headers },
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS),
      })
      why = `Lettrage answered ${answer.status}`
      if (answer.status === 429 || answer.status >= 500) continue
      const said = await answer.json()
      if (!answer.ok) throw new Refused(`${why}: ${said.detail ?? said.title}`)
      return { status: answer.status, said }
    } catch (error) {
      if (error instanceof Refused) throw error
      why = `Lettrage does not answer (${error.cause?.code ?? error.name})`
    }
  }
  throw new TryLater(`${why}; try again later.`)
}

/** Send an event and wait for its outcome: 200, or 202 without. The id is given: sent again, it is the same event. */
async function send(type, id, data) {
  const time = new Date().toISOString()
  const body = JSON.stringify({ specversion: '1.0', type: `fr.lettrage.${type}.v1`, source: '/portail', id, time, data })
  const headers = { 'Content-Type': 'application/cloudevents+json', Prefer: 'wait=5' }
  let answer = await call('/v1/events', body, headers)
  for (let again = 1; answer.status === 202 && again < TRIES; again++) {
    await sleep(1000)
    answer = await call('/v1/events', body, headers)
  }
  return answer
}

/** A tab's invoices, page after page. */
async function* tab(regie, account, view) {
  const query = new URLSearchParams({ account, view, limit: 100 })
  for (;;) {
    const { said } = await call(`/v1/regies/${regie}/invoices?${query}`)
    yield* said.items
    if (said.next_cursor === null) return
    query.set('cursor', said.next_cursor)
  }
}

/** Start a payment of `{number, amount_cents}`s. Send the family to the gateway only when its state is `started`. */
async function start(regie, reference, invoices) {
  const amount_cents = invoices.reduce((sum, line) => sum + line.amount_cents, 0)
  const { status, said } = await send('payment.started', `started-${reference}`, { regie, reference, amount_cents, invoices })
  if (status !== 200) throw new TryLater('Lettrage has not decided yet; try the same again.')
  return said.payment ?? { state: said.reason }
}

/** Pass on what a gateway sent to the portal, byte for byte. */
async function forward(regie, method, query, body, headers) {
  const data = { regie, method, query, body: body.toString('base64'), headers }
  return (await send('gateway.callback', `callback-${randomUUID()}`, data)).said
}

/** The body, if one of our secrets made one of its signatures, not long ago. Two secrets while one replaces the other. */
function verify(headers, body, secrets, nowSeconds) {
  const at = headers['webhook-timestamp'] ?? ''
  if (!/^[0-9]{1,12}$/.test(at) || Math.abs(nowSeconds - Number(at)) > TOLERANCE_SECONDS) {
    throw new Refused('Sent more than five minutes ago, or in the future.')
  }
  for (const secret of secrets) {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
    const made = createHmac('sha256', key).update(`${headers['webhook-id']}.${at}.`).update(body).digest('base64')
    const expected = Buffer.from(`v1,${made}`)
    for (const each of (headers['webhook-signature'] ?? '').split(' ')) {
      const signature = Buffer.from(each)
      if (signature.length === expected.length && timingSafeEqual(signature, expected)) return body
    }
  }
  throw new Refused("No signature of Lettrage's.")
}

/** What to show of an invoice: of all that was verified, in any order, the highest version is its truth. */
function newest(bodies, regie, number) {
  return bodies
    .filter(({ type, data }) => type.startsWith('invoice.') && data.regie === regie && data.number === number)
    .reduce((best, { data }) => (best && best.version >= data.version ? best : data), undefined)
}

/** The headers by their names in lower case, and the body, of a request as it came. */
function split(request) {
  const [end] = /\r?\n\r?\n/.exec(request.toString('latin1')) ?? ['']
  const at = request.indexOf(end)
  const lines = request.toString('latin1', 0, at).split(/\r?\n/)
  return { headers: named(lines.map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()))), body: request.subarray(at + end.length) }
}

/** `NAME:VALUE`s as an object. */
function named(lines) {
  return Object.fromEntries(lines.map((line) => /^([^:]*): *(.*)$/.exec(line)?.slice(1) ?? [line, '']))
}

async function main(command, ...args) {
  const [regie, second, third, ...rest] = args
  if (command === 'tabs' && args.length === 2) {
    for (const view of VIEWS) {
      for await (const { number, amount_cents, state, payable_again_at } of tab(regie, second, view)) {
        console.log([view, number, amount_cents, state, payable_again_at ?? '-'].join('\t'))
      }
    }
  } else if (command === 'pay' && args.length > 2) {
    const lines = [third, ...rest].map((line) => /^(.+)=([0-9]+)$/.exec(line))
    const payment = await start(regie, second, lines.map(([, number, cents]) => ({ number, amount_cents: Number(cents) })))
    console.log(`${payment.state}\t${payment.payable_again_at ?? '-'}`)
    if (payment.state !== 'started') throw new Refused('Do not send the family to the gateway.')
  } else if (command === 'forward' && args.length > 2) {
    const body = second === 'POST' ? await buffer(process.stdin) : Buffer.alloc(0)
    const { status, outcome, reason } = await forward(regie, second, third, body, named(rest))
    console.log(`${outcome ?? status}\t${reason ?? '-'}`)
  } else if (command === 'verify' && args.length === 0) {
    const { headers, body } = split(await buffer(process.stdin))
    process.stdout.write(verify(headers, body, PORTAL_WEBHOOK_SECRET.split(' '), Date.now() / 1000))
    process.stdout.write('\n')
  } else if (command === 'shown' && args.length === 2) {
    const lines = (await text(process.stdin)).split('\n').filter(Boolean)
    const data = newest(lines.map((line) => JSON.parse(line)), regie, second)
    if (data === undefined) {
      console.error('Nothing is known of this invoice.')
      return 3
    }
    console.log(`${data.state}\t${data.version}`)
  } else {
    console.error(
      'tabs REGIE ACCOUNT | pay REGIE REFERENCE NUMBER=CENTS… | forward REGIE METHOD QUERY [NAME:VALUE…] | verify | shown REGIE NUMBER',
    )
    return 2
  }
  return 0
}

try {
  process.exitCode = await main(...process.argv.slice(2))
} catch (error) {
  if (!(error instanceof Refused || error instanceof TryLater)) throw error
  console.error(error.message)
  process.exitCode = error instanceof TryLater ? 75 : 1
}
