// The interface of a server API method, and what the methods share.
import type { z } from 'zod'
import type { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { validationError } from '../../protocol/validation-error.js'
import type { ChannelRef } from '../../broker/broker.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import type { ApiCaller } from './caller.js'
import type { Gateway } from '../gateway.js'
import type { ResultBytes } from './result-bytes.js'

/** One call of a method by an authenticated caller. */
export interface ApiMethodCall {
  readonly gateway: Gateway
  readonly tenant: TenantRuntime
  readonly caller: ApiCaller
  /** The request as received: message payloads are cut out of it byte for byte. */
  readonly requestText: string
  /** The room that the response has for results; the commands of a batch share it. */
  readonly results: ResultBytes
  /**
   * Converts an error into the one that the caller receives. Logs and counts it when it is a bug, and counts
   * it as a refusal otherwise.
   */
  toRefusal(error: unknown): CommandError
}

export interface ApiMethod {
  /** One sentence for the OpenAPI document. */
  readonly summary: string
  readonly request: z.ZodType
  readonly result: z.ZodType
  /**
   * Charges the call to the tenant's rate under the method's `name`, and resolves to the result. Rejects with
   * CommandError; any other error is a bug.
   */
  run(call: ApiMethodCall, name: string, fields: unknown): Promise<MessageFields>
}

/**
 * Wraps a method so that it charges and validates its request first. An invalid request costs one call.
 * Rejects with QUOTA_EXCEEDED (API requests per second), and with BAD_REQUEST when the request does not match
 * the schema.
 */
export function defineMethod<Request>(method: {
  summary: string
  request: z.ZodType<Request>
  result: z.ZodType
  /** How many calls one call counts as. Default: 1. */
  cost?: (fields: Request) => number
  run: (call: ApiMethodCall, fields: Request) => Promise<MessageFields>
}): ApiMethod {
  const { cost = () => 1, request, result, run, summary } = method
  return {
    summary,
    request,
    result,
    async run(call, name, value) {
      const parsed = request.safeParse(value)
      call.tenant.quota.rates.chargeApi(name, parsed.success ? cost(parsed.data) : 1)
      if (!parsed.success) throw validationError(parsed.error, value)
      return run(call, parsed.data)
    },
  }
}

/** Parses a channel name with the tenant's length limit. Throws INVALID_CHANNEL. */
export function parseApiChannel({ tenant }: ApiMethodCall, name: string): ChannelName {
  return parseChannelName(name, { maxLength: tenant.policy.limits.channels.nameMaxLength })
}

export function refOf({ tenant }: ApiMethodCall, channel: ChannelName): ChannelRef {
  return { tenantId: tenant.policy.tenantId, channel }
}
