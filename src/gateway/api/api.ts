// The server API for tenants' backends: POST /<namespace>/<name>/api/<method>, compatible with the client
// libraries of Centrifugo's server API. A request with invalid HTTP is answered with an HTTP error status. A
// request with invalid content is answered with 200 and `error`.
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { CommandError, internalError } from '../../errors.js'
import { isRecord, parseJson } from '../../json.js'
import { writeJson } from '../../protocol/json-writer.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { validationError } from '../../protocol/validation-error.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import {
  retryAfterS,
  sendError,
  sendJsonBytes,
  type EndpointRequirements,
  whenClosed,
} from '../http/http-errors.js'
import { runBatch } from './batch.js'
import { authenticateApiCaller } from './caller.js'
import { apiErrorFields, transportStatus } from './errors.js'
import type { ApiMethodCall } from './method.js'
import { methodNames, runMethod } from './methods.js'
import { openApiDocument } from './openapi.js'
import { ResultBytes } from './result-bytes.js'
import { BatchParams } from './schema.js'
import { ApiTurns, type Turn } from './turns.js'
import { readBody } from '../http/read-body.js'
import type { Gateway } from '../gateway.js'

/** The largest request body in bytes. It has room for a batch of several messages. */
const bodyBytesMax = 1_048_576
/** The most requests of one tenant that wait, are at work or are being sent. */
const perTenantMax = 64
/** From this many requests of a gateway on, a tenant with `fairPerTenant` or more gets no further one. */
const perGatewayMax = 512
const fairPerTenant = 8
const busyRetryAfterMs = 1_000
const apiEndpoint: EndpointRequirements = { scheme: 'apikey', method: 'POST' }
const documentPath = 'openapi.json'

export class Api {
  readonly #gateway: Gateway
  readonly #inFlight = new Map<TenantRuntime, number>()
  #inFlightTotal = 0
  readonly #turns = new ApiTurns<TenantRuntime>()
  #document: Buffer | undefined

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  /**
   * Resolves to false when the path does not belong to the API. `onAuthenticated` is called once the request
   * has a valid key. Rejects only because of a bug, and then has not answered the request.
   */
  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    { onAuthenticated }: { onAuthenticated: () => void },
  ): Promise<boolean> {
    const [path = ''] = (request.url ?? '').split('?')
    const [, namespace = '', name = '', api, method = '', ...rest] = path.split('/')
    if (path !== `/api/${documentPath}` && api !== 'api') return false
    try {
      if (request.method === 'GET' && (path === `/api/${documentPath}` || method === documentPath)) {
        // Made once: the document is long, and anyone may ask for it.
        this.#document ??= Buffer.from(JSON.stringify(openApiDocument()))
        sendJsonBytes(response, 200, this.#document)
        return true
      }
      if (rest.length > 0 || !methodNames.includes(method))
        throw new CommandError(
          'NOT_FOUND',
          `Unknown method; the methods are /<namespace>/<name>/api/{${methodNames.join(',')}}`,
        )
      await this.#handleMethod(method, `${namespace}/${name}`, { request, response, onAuthenticated })
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      this.#gateway.metrics.apiRequests.inc({ method: labelOf(method), code: error.code })
      sendError(response, error, apiEndpoint)
    }
    return true
  }

  /** Throws errors that are answered with an HTTP status. */
  async #handleMethod(method: string, tenantKey: string, exchange: Exchange): Promise<void> {
    const { context } = this.#gateway
    const { request, response } = exchange
    if (request.method !== 'POST') throw new CommandError('METHOD_NOT_ALLOWED', 'The API supports only POST')
    const tenant = this.#gateway.tenant(tenantKey)
    if (!tenant) throw new CommandError('NOT_FOUND', 'There is no such tenant on this gateway')
    const caller = authenticateApiCaller(request.headers, tenant.policy.apiKeys, context.clock.epochMs())
    exchange.onAuthenticated()
    requireJson(request)
    this.#acquire(tenant)
    let turn: Turn | undefined
    let heldBytes = 0
    try {
      const text = textOf(await readBody(request, { bytesMax: bodyBytesMax }))
      turn = await this.#turns.take(tenant)
      heldBytes = await this.#answer(method, { tenant, caller, requestText: text }, exchange)
      context.memory.add(tenant.memory, heldBytes)
    } finally {
      turn?.worked()
      // A response that its client does not read counts for its tenant until it is sent or cut.
      whenClosed(response, () => {
        turn?.end()
        context.memory.add(tenant.memory, -heldBytes)
        this.#release(tenant)
      })
    }
  }

  /** Resolves with the bytes of the response, which the gateway holds until it is sent. */
  async #answer(
    method: string,
    input: Pick<ApiMethodCall, 'tenant' | 'caller' | 'requestText'>,
    { request, response }: Exchange,
  ): Promise<number> {
    const { context, metrics } = this.#gateway
    const startedMs = context.clock.monotonicMs()
    const outcome = await this.#run(method, input)
    metrics.apiRequests.inc({ method, code: outcome.refusal?.code ?? 'ok' })
    metrics.apiSeconds.observe({ method }, (context.clock.monotonicMs() - startedMs) / 1000)
    // The caller then opens a new connection, which reaches another gateway.
    if (this.#gateway.draining) response.setHeader('connection', 'close')
    const inTransport = request.headers['x-centrifugo-error-mode'] === 'transport' && method !== 'batch'
    const bytes = sendOutcome(response, outcome, inTransport)
    input.tenant.quota.rates.chargeBytesOut(bytes)
    return bytes
  }

  /** Throws BAD_REQUEST when the body is not a JSON object. */
  async #run(
    method: string,
    input: Pick<ApiMethodCall, 'tenant' | 'caller' | 'requestText'>,
  ): Promise<Outcome> {
    const fields = parseJson(input.requestText)
    if (!isRecord(fields))
      throw new CommandError(
        'BAD_REQUEST',
        'The body is not a JSON object; send {} for a method without parameters',
      )
    let retryAfterMs = 0
    const refuse = (error: unknown): CommandError => {
      const refusal = this.#asCommandError(error, input.tenant)
      retryAfterMs = Math.max(retryAfterMs, refusal.retryAfterMs ?? 0)
      return refusal
    }
    const results = new ResultBytes()
    const call: ApiMethodCall = { ...input, gateway: this.#gateway, results, toRefusal: refuse }
    try {
      const answer =
        method === 'batch'
          ? await this.#runBatch(call, fields)
          : { result: await runMethod(call, method, fields) }
      return { answer, retryAfterMs }
    } catch (error) {
      const refusal = refuse(error)
      return { answer: { error: apiErrorFields(refusal) }, refusal, retryAfterMs }
    }
  }

  async #runBatch(call: ApiMethodCall, fields: unknown): Promise<MessageFields> {
    const batch = BatchParams.safeParse(fields)
    if (!batch.success) throw validationError(batch.error, fields)
    const { apiRequests } = this.#gateway.metrics
    return runBatch(call, batch.data, (method, code) => apiRequests.inc({ method: labelOf(method), code }))
  }

  #asCommandError(error: unknown, tenant: TenantRuntime): CommandError {
    if (error instanceof CommandError) {
      tenant.quota.counters.countRefusal(error.code)
      return error
    }
    this.#gateway.reportBug(error, 'a server API request failed', { tenant: tenant.key })
    return internalError()
  }

  /** Counts a request in flight. Throws TOO_MANY_REQUESTS when the tenant or the gateway has too many. */
  #acquire(tenant: TenantRuntime): void {
    const ofTenant = this.#inFlight.get(tenant) ?? 0
    const isGatewayFull = this.#inFlightTotal >= perGatewayMax && ofTenant >= fairPerTenant
    if (ofTenant >= perTenantMax || isGatewayFull) {
      throw new CommandError(
        'TOO_MANY_REQUESTS',
        `${isGatewayFull ? 'This gateway is busy and has' : 'This gateway processes'} ${ofTenant} requests of this tenant already: wait for some of them to finish`,
        { retryAfterMs: busyRetryAfterMs },
      )
    }
    this.#inFlight.set(tenant, ofTenant + 1)
    this.#inFlightTotal += 1
  }

  #release(tenant: TenantRuntime): void {
    const left = (this.#inFlight.get(tenant) ?? 0) - 1
    if (left > 0) this.#inFlight.set(tenant, left)
    else this.#inFlight.delete(tenant)
    this.#inFlightTotal -= 1
  }
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly onAuthenticated: () => void
}

interface Outcome {
  /** The whole response body. */
  readonly answer: MessageFields
  /** Set when the response is this error instead of a result. */
  readonly refusal?: CommandError
  /** The longest retry time of all errors in the response; 0: none. */
  readonly retryAfterMs: number
}

/**
 * Writes the response and returns the bytes of its body. `inTransport`: an error becomes an HTTP status, and
 * the body holds the error alone.
 */
function sendOutcome(response: ServerResponse, outcome: Outcome, inTransport: boolean): number {
  const { answer, refusal, retryAfterMs } = outcome
  if (retryAfterMs > 0) response.setHeader('retry-after', retryAfterS(retryAfterMs))
  const status = refusal && inTransport ? transportStatus(refusal) : 200
  const json = writeJson(refusal && inTransport ? apiErrorFields(refusal) : answer)
  sendJsonBytes(response, status, json)
  return json.byteLength
}

/**
 * Returns the metric label of a method. Unknown names share one label, because clients can send any number of
 * them.
 */
function labelOf(method: string): string {
  return methodNames.includes(method) ? method : 'unknown'
}

function requireJson({ headers }: IncomingMessage): void {
  const [type = ''] = (headers['content-type'] ?? 'application/json').split(';')
  if (type.trim().toLowerCase() !== 'application/json')
    throw new CommandError('BAD_REQUEST', 'Send the header "Content-Type: application/json" (curl: --json)')
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new CommandError('BAD_REQUEST', 'Send the body uncompressed: compressed bodies are not supported')
}

function textOf(body: Buffer): string {
  if (!isUtf8(body)) throw new CommandError('BAD_REQUEST', 'The body is not UTF-8')
  return body.toString()
}
