// Answers the requests that are not WebSocket handshakes: the server API, the documents, checks of endpoint
// URLs, and optional extra pages. Strangers can send any number of them, so each address has a budget, which
// is separate from the budget for handshakes, and a few requests are handled in one turn of the event loop.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError } from '../../errors.js'
import { Api } from '../api/api.js'
import type { Gateway } from '../gateway.js'
import { ArrivalLimiter, type ArrivalRates } from './arrival-limiter.js'
import { ArrivalPacer } from './arrival-pacer.js'
import type { ClientConnection } from './client-connections.js'
import type { ArrivalSource } from './arrival-queue.js'
import { checkHeaders, checkTarget, endpointUrlOf, type EndpointUrl } from './handshake.js'
import { sendError } from './http-errors.js'
import type { RequestGate } from './request-gate.js'

/**
 * Serves additional pages on the same port. Called first for each request; resolves to true when it answered.
 */
export type ExtraPages = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>

export const defaultRequestRates = { perSecond: 1_000, perAddress: 100 } as const satisfies ArrivalRates

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

export interface PlainRequestsOptions {
  readonly rates: ArrivalRates
  readonly extraPages: ExtraPages | undefined
  /** Runs the checks of a WebSocket handshake. Rejects with the error that would refuse it. */
  readonly checkEndpoint: (url: EndpointUrl, request: IncomingMessage) => Promise<void>
  /** The time before the response to a request above a rate. */
  readonly refusalDelayMs: number
  readonly toRefusal: (error: unknown, request: IncomingMessage) => CommandError
}

export class PlainRequests {
  readonly #gateway: Gateway
  readonly #options: PlainRequestsOptions
  readonly #api: Api
  readonly #limiter: ArrivalLimiter
  readonly #pacer: ArrivalPacer

  constructor(gateway: Gateway, options: PlainRequestsOptions) {
    this.#gateway = gateway
    this.#pacer = new ArrivalPacer({
      scheduler: gateway.context.scheduler,
      workOf: (tenant) => gateway.tenant(tenant)?.work,
    })
    this.#options = options
    this.#api = new Api(gateway)
    const { clock, random } = gateway.context
    this.#limiter = new ArrivalLimiter(options.rates, { clock, random, what: 'plain requests' })
  }

  /** Resolves when the request is answered, or its connection is closed. */
  async handle({ request, response }: Exchange, connection: ClientConnection): Promise<void> {
    try {
      checkHeaders(request)
      checkTarget(request.url ?? '')
      const [, namespace = '', name = '', endpoint] = (request.url ?? '').split(/[/?]/, 4)
      const key = `${namespace}/${name}`
      // Clients can invent any number of tenants, which share one share.
      const tenant = this.#gateway.tenant(key) ? key : ''
      const source = { tenant, address: connection.addressOf(request) }
      const turn = this.#pacer.waitForTurn(source)
      if (turn) await turn
      if (request.socket.destroyed) return
      // A backend is known by its key, and its tenant has a quota for the API.
      const isApiCall = request.method === 'POST' && endpoint === 'api'
      if (!isApiCall) this.#limiter.admit(source, this.#pacer.waiting)
      if (await this.#options.extraPages?.(request, response)) return
      let isKnown = false
      const onAuthenticated = (): void => {
        isKnown = true
        connection.authenticated()
        connection.gate?.recognizeBackend()
      }
      if (await this.#api.handle(request, response, { onAuthenticated })) {
        if (isApiCall && !isKnown) this.#chargeStranger(source, response, connection.gate)
        return
      }
      await this.#options.checkEndpoint(endpointUrlOf(request), request)
      throw new CommandError(
        'UPGRADE_REQUIRED',
        'The request is valid, but this endpoint requires a WebSocket',
      )
    } catch (error) {
      await this.#refuse(response, this.#options.toRefusal(error, request))
    }
  }

  /** Charges a call of the API without a valid key. The connection ends when the budget is used up. */
  #chargeStranger(source: ArrivalSource, response: ServerResponse, gate: RequestGate | undefined): void {
    try {
      this.#limiter.admit(source, this.#pacer.waiting)
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      this.#gateway.metrics.requestRefusals.inc({ code: error.code })
      response.once('close', () => gate?.penalize('api_key_guessing'))
    }
  }

  async #refuse(response: ServerResponse, refusal: CommandError): Promise<void> {
    if (refusal.code === 'ADDRESS_LIMIT' || refusal.code === 'OVERLOADED') {
      this.#gateway.metrics.requestRefusals.inc({ code: refusal.code })
      // Until then, the connection sends no other request.
      await sleep(this.#options.refusalDelayMs)
    }
    sendError(response, refusal)
  }
}
