// The door for tenants' backends: POST /<namespace>/<name>/api/<method>, as Centrifuge's server clients speak it. What is wrong with the HTTP
// of a request is answered by a status, what is wrong with its content by 200 and `error`.
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { CommandError } from '../errors.js'
import { object, weave, type Pieces } from '../protocol/json-pieces.js'
import { parseJson } from '../protocol/raw-json.js'
import type { TenantState } from '../session/tenant-state.js'
import { retryAfterS, sendError, sendJson, sendJsonBytes, type DoorWords } from './answer.js'
import { runBatch } from './api-batch.js'
import { apiCaller } from './api-caller.js'
import { errorPieces, transportStatus } from './api-error.js'
import { badRequest, type ApiCall } from './api-method.js'
import { apiMethods, runMethod } from './api-methods.js'
import { openApi } from './api-openapi.js'
import { Batch } from './api-schema.js'
import { readBody } from './body.js'
import type { Gateway } from './node.js'

export interface ApiLimits {
  /** Of a request's body; a batch holds several messages. */
  readonly bodyBytesMax: number
  /** Requests under way at once. */
  readonly perTenantMax: number
  readonly perGatewayMax: number
}

const defaultApiLimits: ApiLimits = { bodyBytesMax: 1_048_576, perTenantMax: 64, perGatewayMax: 512 }

const busyRetryAfterMs = 1_000
const words: DoorWords = { scheme: 'apikey', method: 'POST' }
const documentPath = 'openapi.json'

export class Api {
  readonly #gateway: Gateway
  readonly #limits: ApiLimits
  readonly #underWay = new Map<TenantState, number>()
  #underWayTotal = 0
  #document: object | undefined

  constructor(gateway: Gateway, limits: ApiLimits = defaultApiLimits) {
    this.#gateway = gateway
    this.#limits = limits
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
      if (rest.length > 0 || !(method === 'batch' || Object.hasOwn(apiMethods, method)))
        throw new CommandError(
          'NOT_FOUND',
          `Nothing here; the methods are at /<namespace>/<name>/api/${known}`,
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
      const text = textOf(await readBody(request, { bytesMax: this.#limits.bodyBytesMax }))
      const fields = parseJson(text)
      if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
        throw new CommandError(
          'BAD_REQUEST',
          'The body is not one JSON object; send {} where nothing is to be said',
        )
      const refusals: CommandError[] = []
      const call: ApiCall = {
        gateway: this.#gateway,
        tenant,
        caller,
        text,
        refuse: (error) => {
          const refusal = this.#asCommandError(error, tenant)
          refusals.push(refusal)
          return refusal
        },
      }
      const { pieces, refusal } = await this.#run(method, call, fields)
      metrics.apiRequests.inc({ method, code: refusal?.code ?? 'ok' })
      metrics.apiSeconds.observe({ method }, (context.clock.monotonicMs() - startedMs) / 1000)
      const retryAfterMs = Math.max(0, ...refusals.map((error) => error.retryAfterMs ?? 0))
      if (retryAfterMs > 0) response.setHeader('retry-after', retryAfterS(retryAfterMs))
      // Callers come back on another line, and so to another gateway.
      if (this.#gateway.draining) response.setHeader('connection', 'close')
      if (!refusal) return sendJsonBytes(response, 200, weave(pieces))
      const bare = request.headers['x-centrifugo-error-mode'] === 'transport' && method !== 'batch'
      if (bare) sendJsonBytes(response, transportStatus(refusal), weave(errorPieces(refusal)))
      else sendJsonBytes(response, 200, weave(object({ error: errorPieces(refusal) })))
    } finally {
      this.#end(tenant)
    }
  }

  async #run(method: string, call: ApiCall, fields: unknown): Promise<Outcome> {
    try {
      if (method !== 'batch') return { pieces: object({ result: await runMethod(call, method, fields) }) }
      const batch = Batch.safeParse(fields)
      if (!batch.success) throw badRequest(batch.error)
      const { apiRequests } = this.#gateway.metrics
      const done = (command: string, code: string): void =>
        apiRequests.inc({ method: labelOf(command), code })
      return { pieces: await runBatch(call, batch.data, done) }
    } catch (error) {
      return { pieces: [], refusal: call.refuse(error) }
    }
  }

  #asCommandError(error: unknown, tenant: TenantState): CommandError {
    if (error instanceof CommandError) {
      tenant.countRefusal(error.code)
      return error
    }
    this.#gateway.metrics.bugs.inc()
    this.#gateway.log.error({ err: error, tenant: tenant.key }, 'a request of a backend failed')
    return new CommandError('INTERNAL', 'The server failed at this; it is in its log. Try again')
  }

  /** Takes a place, or throws TOO_MANY_REQUESTS. */
  #begin(tenant: TenantState): void {
    const ofTenant = this.#underWay.get(tenant) ?? 0
    const { perGatewayMax, perTenantMax } = this.#limits
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
  readonly pieces: Pieces
  /** Instead of a result. */
  readonly refusal?: CommandError
}

const known = `{${[...Object.keys(apiMethods), 'batch'].join(',')}}`

/** Of names that strangers make up there is no end. */
function labelOf(method: string): string {
  return method === 'batch' || Object.hasOwn(apiMethods, method) ? method : 'unknown'
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
