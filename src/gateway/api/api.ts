// The door for tenants' backends: POST /<namespace>/<name>/api/<method>, as Centrifuge's server clients speak it. What is wrong with the HTTP
// of a request is answered by a status, what is wrong with its content by 200 and `error`.
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { CommandError, internalError } from '../../errors.js'
import { isRecord, parseJson } from '../../json.js'
import { writeJson } from '../../protocol/fields-json.js'
import type { Fields } from '../../protocol/fields.js'
import { schemaRefusal } from '../../protocol/schema-refusal.js'
import type { TenantState } from '../../session/tenant/runtime.js'
import { retryAfterS, sendError, sendJson, sendJsonBytes, type DoorWords } from '../http/http-errors.js'
import { runBatch } from './batch.js'
import { apiCaller } from './caller.js'
import { refusalFields, transportStatus } from './errors.js'
import type { ApiCall } from './method.js'
import { callNames, runMethod } from './methods.js'
import { openApi } from './openapi.js'
import { Batch } from './schema.js'
import { readBody } from '../http/read-body.js'
import type { Gateway } from '../gateway.js'

/** Of a request's body: a batch holds several messages. */
const bodyBytesMax = 1_048_576
/** Requests under way at once. */
const perTenantMax = 64
const perGatewayMax = 512
const busyRetryAfterMs = 1_000
const words: DoorWords = { scheme: 'apikey', method: 'POST' }
const documentPath = 'openapi.json'

export class Api {
  readonly #gateway: Gateway
  readonly #underWay = new Map<TenantState, number>()
  #underWayTotal = 0
  #document: object | undefined

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  /** False: the path is not of the API. Rejects with what is a fault of our own and was not answered. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const [path = ''] = (request.url ?? '').split('?')
    const [, namespace = '', name = '', api, method = '', ...rest] = path.split('/')
    if (path !== `/api/${documentPath}` && api !== 'api') return false
    try {
      if (request.method === 'GET' && (path === `/api/${documentPath}` || method === documentPath)) {
        sendJson(response, 200, (this.#document ??= openApi()))
        return true
      }
      if (rest.length > 0 || !callNames.includes(method))
        throw new CommandError(
          'NOT_FOUND',
          `Nothing here; the methods are at /<namespace>/<name>/api/{${callNames.join(',')}}`,
        )
      await this.#answerMethod(method, `${namespace}/${name}`, { request, response })
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      this.#gateway.metrics.apiRequests.inc({ method: labelOf(method), code: error.code })
      sendError(response, error, words)
    }
    return true
  }

  /** Throws what is answered by a status. */
  async #answerMethod(method: string, tenantKey: string, exchange: Exchange): Promise<void> {
    const { context, metrics } = this.#gateway
    const { request, response } = exchange
    const startedMs = context.clock.monotonicMs()
    if (request.method !== 'POST') throw new CommandError('METHOD_NOT_ALLOWED', 'The API is called with POST')
    const tenant = this.#gateway.tenant(tenantKey)
    if (!tenant) throw new CommandError('NOT_FOUND', `There is no such tenant here`)
    const caller = apiCaller(request.headers, tenant.policy.apiKeys, context.clock.epochMs())
    requireJson(request)
    this.#begin(tenant)
    try {
      const text = textOf(await readBody(request, { bytesMax: bodyBytesMax }))
      const outcome = await this.#run(method, { tenant, caller, text })
      metrics.apiRequests.inc({ method, code: outcome.refusal?.code ?? 'ok' })
      metrics.apiSeconds.observe({ method }, (context.clock.monotonicMs() - startedMs) / 1000)
      // Callers come back on another line, and so to another gateway.
      if (this.#gateway.draining) response.setHeader('connection', 'close')
      const inTransport = request.headers['x-centrifugo-error-mode'] === 'transport' && method !== 'batch'
      reply(response, outcome, inTransport)
    } finally {
      this.#end(tenant)
    }
  }

  /** Throws BAD_REQUEST where the body is no request of any method. */
  async #run(method: string, asked: Pick<ApiCall, 'tenant' | 'caller' | 'text'>): Promise<Outcome> {
    const fields = parseJson(asked.text)
    if (!isRecord(fields))
      throw new CommandError(
        'BAD_REQUEST',
        'The body is not one JSON object; send {} where nothing is to be said',
      )
    let retryAfterMs = 0
    const refuse = (error: unknown): CommandError => {
      const refusal = this.#asCommandError(error, asked.tenant)
      retryAfterMs = Math.max(retryAfterMs, refusal.retryAfterMs ?? 0)
      return refusal
    }
    const call: ApiCall = { ...asked, gateway: this.#gateway, refuse }
    try {
      const answer =
        method === 'batch'
          ? await this.#runBatch(call, fields)
          : { result: await runMethod(call, method, fields) }
      return { answer, retryAfterMs }
    } catch (error) {
      const refusal = refuse(error)
      return { answer: { error: refusalFields(refusal) }, refusal, retryAfterMs }
    }
  }

  async #runBatch(call: ApiCall, fields: unknown): Promise<Fields> {
    const batch = Batch.safeParse(fields)
    if (!batch.success) throw schemaRefusal(batch.error, fields)
    const { apiRequests } = this.#gateway.metrics
    return runBatch(call, batch.data, (method, code) => apiRequests.inc({ method: labelOf(method), code }))
  }

  #asCommandError(error: unknown, tenant: TenantState): CommandError {
    if (error instanceof CommandError) {
      tenant.countRefusal(error.code)
      return error
    }
    this.#gateway.bug(error, 'a request of a backend failed', { tenant: tenant.key })
    return internalError()
  }

  /** Takes a place, or throws TOO_MANY_REQUESTS. */
  #begin(tenant: TenantState): void {
    const ofTenant = this.#underWay.get(tenant) ?? 0
    if (ofTenant >= perTenantMax || this.#underWayTotal >= perGatewayMax) {
      throw new CommandError(
        'TOO_MANY_REQUESTS',
        `${ofTenant} requests of this tenant are under way on this gateway: wait for some of them`,
        { retryAfterMs: busyRetryAfterMs },
      )
    }
    this.#underWay.set(tenant, ofTenant + 1)
    this.#underWayTotal += 1
  }

  #end(tenant: TenantState): void {
    const left = (this.#underWay.get(tenant) ?? 0) - 1
    if (left > 0) this.#underWay.set(tenant, left)
    else this.#underWay.delete(tenant)
    this.#underWayTotal -= 1
  }
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

interface Outcome {
  /** The whole answer. */
  readonly answer: Fields
  /** The answer holds this and no result. */
  readonly refusal?: CommandError
  /** The longest that was advised with any refusal in it; 0: none. */
  readonly retryAfterMs: number
}

/** `inTransport`: a refusal is to be an HTTP status, and bare. */
function reply(response: ServerResponse, outcome: Outcome, inTransport: boolean): void {
  const { answer, refusal, retryAfterMs } = outcome
  if (retryAfterMs > 0) response.setHeader('retry-after', retryAfterS(retryAfterMs))
  if (refusal && inTransport)
    sendJsonBytes(response, transportStatus(refusal), writeJson(refusalFields(refusal)))
  else sendJsonBytes(response, 200, writeJson(answer))
}

/** Of names that strangers make up there is no end. */
function labelOf(method: string): string {
  return callNames.includes(method) ? method : 'unknown'
}

function requireJson({ headers }: IncomingMessage): void {
  const [type = ''] = (headers['content-type'] ?? 'application/json').split(';')
  if (type.trim().toLowerCase() !== 'application/json')
    throw new CommandError('BAD_REQUEST', 'Send the header "Content-Type: application/json" (curl: --json)')
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new CommandError('BAD_REQUEST', 'Send the body as it is: compressed bodies are not read')
}

function textOf(body: Buffer): string {
  if (!isUtf8(body)) throw new CommandError('BAD_REQUEST', 'The body is not UTF-8')
  return body.toString()
}
