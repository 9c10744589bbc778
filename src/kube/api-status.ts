// Turns a failed response into one ApiError: the HTTP status, the headers and the Status in the body.
import { z } from 'zod'
import { parseJson } from '../json.js'
import { ApiError } from './api-error.js'

const Status = z.object({
  kind: z.literal('Status'),
  message: z.string().default(''),
  reason: z.string().optional(),
  code: z.int().optional(),
  details: z
    .object({
      retryAfterSeconds: z.number().optional(),
      causes: z
        .array(
          z.object({
            reason: z.string().default(''),
            field: z.string().default(''),
            message: z.string().default(''),
          }),
        )
        .optional(),
    })
    .optional(),
})

/** The reasons of responses that have no Status, such as those of a proxy. */
const reasonsByCode: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

const retryAfterMsMax = 3_600_000

/** Returns the error of an HTTP response whose status is not 2xx. `body` may be any text. */
export function errorOfResponse(code: number, body: string, headers: { 'retry-after'?: string | undefined }) {
  return apiError(parseJson(body), { code, retryAfterMs: retryAfterMs(headers['retry-after']), body })
}

/** Returns the error of an ERROR event inside a watch. `object` should be a Status, but may be malformed. */
export function errorOfStatus(object: unknown): ApiError {
  return apiError(object, { code: 500, retryAfterMs: undefined, body: '' })
}

function apiError(
  object: unknown,
  http: { code: number; retryAfterMs: number | undefined; body: string },
): ApiError {
  const parsed = Status.safeParse(object)
  if (!parsed.success) {
    const excerpt = http.body.slice(0, 200).replaceAll(/\s+/g, ' ').trim()
    const reason = reasonsByCode[http.code] ?? 'Unknown'
    return new ApiError(`status ${http.code}${excerpt === '' ? '' : `: ${excerpt}`}`, { ...http, reason })
  }
  const { message, details, code = http.code } = parsed.data
  const reason = parsed.data.reason ?? ''
  const seconds = details?.retryAfterSeconds
  return new ApiError(message === '' ? `status ${code}` : message, {
    code,
    reason: reason === '' ? (reasonsByCode[code] ?? 'Unknown') : reason,
    retryAfterMs: http.retryAfterMs ?? (seconds === undefined ? undefined : seconds * 1000),
    causes: details?.causes ?? [],
  })
}

/** Parses seconds or an HTTP date. The result is between zero and one hour. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const waitMs = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), retryAfterMsMax)
}
