// Sends an input to the server API, or as the bytes of a TCP stream, and checks the response.
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { errorCodes } from '../../src/errors.js'
import { isRecord, parseJson } from '../../src/json.js'
import { within } from '../support/waiting.js'
import type { FuzzInput } from './input.js'
import { apiKey, path } from './rig.js'
import { codeProblem } from './websocket-targets.js'

const answerMsMax = 30_000

interface ApiResponse {
  readonly status: number
  readonly text: string
}

/** Sends a request on a connection of its own: the server may close one that is used again. */
async function post(port: number, method: string, body: Buffer | string): Promise<ApiResponse> {
  const sent = request({
    ...{ port, host: '127.0.0.1', agent: false, method: 'POST' },
    path: `${path}/api/${encodeURIComponent(method)}`,
    headers: { 'content-type': 'application/json', 'x-api-key': apiKey },
    signal: AbortSignal.timeout(answerMsMax),
  })
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }
}

/** Calls a method. The parts of the input are its name and the body. */
export async function runAtApi(
  { parts }: FuzzInput,
  { port }: { port: number },
): Promise<string | undefined> {
  const [method = Buffer.alloc(0), body = Buffer.alloc(0)] = parts
  const response = await post(port, method.toString(), body)
  const answer = parseJson(response.text)
  if (!isRecord(answer)) return `status ${response.status} without a JSON object`
  if (response.status !== 200) return statusProblem(response.status) ?? codeProblem(answer['code'])
  const { error, replies, result } = answer
  const errors = Array.isArray(replies) ? replies.map((reply) => isRecord(reply) && reply['error']) : [error]
  if (error === undefined && result === undefined && replies === undefined)
    return 'the response has no result'
  return errors
    .filter(isRecord)
    .map(({ message }) => codeProblem(String(message).split(':')[0]))
    .find((problem) => problem !== undefined)
}

/**
 * Ends every revocation that mutated requests have made, so that later inputs get past the handshake.
 * Disconnects nobody.
 */
export async function endRevocations({ port }: { port: number }): Promise<void> {
  const call = async (method: string, body: object): Promise<Record<string, unknown>> => {
    const { text } = await post(port, method, JSON.stringify(body))
    return (JSON.parse(text) as { result?: Record<string, unknown> }).result ?? {}
  }
  const { revocations = [] } = await call('revocations', { limit: 1000 })
  for (const { jti, user } of revocations as { jti?: string; user?: string }[])
    await call('unrevoke', user === undefined ? (jti === undefined ? { tenant: true } : { jti }) : { user })
}

/** Writes the parts to a socket, ends it, and reads what the server answers until it closes. */
export async function runAsHttp(
  { parts }: FuzzInput,
  { port }: { port: number },
): Promise<string | undefined> {
  const socket = connect({ port, host: '127.0.0.1' })
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()))
  try {
    for (const part of parts) socket.write(part)
    socket.end()
    const late = await within('the end of the connection', closed, answerMsMax).catch(
      (error: Error) => error.message,
    )
    return late ?? responseProblem(Buffer.concat(chunks).toString('latin1'))
  } finally {
    socket.destroy()
  }
}

function responseProblem(text: string): string | undefined {
  if (text === '') return undefined
  const [, status = ''] = /^HTTP\/1\.1 (\d{3}) /.exec(text) ?? []
  const problem = statusProblem(Number(status))
  if (problem !== undefined || Number(status) < 400) return problem
  const [, body = ''] = /\r\n\r\n(\{.*?\})(?:HTTP\/1\.1 |$)/s.exec(text) ?? []
  // The answer to HEAD has no body.
  if (body === '') return undefined
  const answer = parseJson(body)
  return isRecord(answer) ? answerProblem(answer) : `the body is ${JSON.stringify(body.slice(0, 100))}`
}

/** With X-Centrifugo-Error-Mode, the code is a number and the message begins with Parley's code. */
function answerProblem({ code, message }: Readonly<Record<string, unknown>>): string | undefined {
  return codeProblem(typeof code === 'number' ? String(message).split(':')[0] : code)
}

const statuses: ReadonlySet<number> = new Set([
  ...[101, 200, 204],
  ...Object.entries(errorCodes).flatMap(([code, { http }]) => (code === 'INTERNAL' ? [] : [http])),
])

function statusProblem(status: number): string | undefined {
  return statuses.has(status) ? undefined : `the status is ${status}`
}
