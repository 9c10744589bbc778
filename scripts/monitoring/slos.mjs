// Service level objectives: recording rules of the error ratio for seven windows, and two burn rate alerts
// for each objective.

/**
 * `bad` and `total` are rates over a window, by namespace.
 * @typedef {{ name: string, alert: string, objective: number, promise: string, bad: (window: string) =>
 * string, total: (window: string) => string }} Slo
 * @typedef {(name: string, ...matchers: string[]) => string} Series returns the selector of a series with the
 * common matchers
 */

/**
 * Error codes of server errors: caused by Parley or its Redis, not by the client or its tenant. DRAINING is
 * none, because the client reaches another gateway.
 */
export const serverErrorCodes = 'INTERNAL|BROKER_UNAVAILABLE|NOT_REPLICATED|OVERLOADED'

/**
 * Objectives for the delivery of a publication and for an edit to reach all gateways, in seconds. Both are
 * bucket bounds.
 */
const deliverySeconds = '0.25'
const programmedSeconds = 5

/**
 * @param {Series} series
 * @returns {{ clients: Slo[], controller: Slo[] }}
 */
export function slos(series) {
  const byNamespace = (/** @type {string} */ inner) => `sum by (namespace) (${inner})`
  /** The rate of observations above a bucket bound. */
  const above = (/** @type {string} */ name, /** @type {string} */ le) => (/** @type {string} */ window) =>
    `(${byNamespace(`rate(${series(`${name}_count`)}[${window}])`)} - ${byNamespace(`rate(${series(`${name}_bucket`, le)}[${window}])`)})`
  const count = (/** @type {string} */ name) => (/** @type {string} */ window) =>
    byNamespace(`rate(${series(`${name}_count`)}[${window}])`)
  return {
    clients: [
      {
        name: 'connect',
        alert: 'ParleyConnectBudgetBurn',
        objective: 0.999,
        promise: 'connection attempts succeed or fail because of the client or its tenant’s quota',
        bad: (window) =>
          byNamespace(
            `rate(${series('parley_connects_total', `result=~"${serverErrorCodes}"`)}[${window}]) or rate(${series('parley_handshake_refusals_total', `code=~"${serverErrorCodes}"`)}[${window}])`,
          ),
        total: (window) =>
          byNamespace(
            `rate(${series('parley_connects_total')}[${window}]) or rate(${series('parley_handshake_refusals_total', `code=~"${serverErrorCodes}"`)}[${window}])`,
          ),
      },
      {
        name: 'delivery',
        alert: 'ParleyDeliveryBudgetBurn',
        objective: 0.99,
        promise: `publications reach the outboxes of their subscribers within ${deliverySeconds} s`,
        bad: above('parley_delivery_delay_seconds', `le="${deliverySeconds}"`),
        total: count('parley_delivery_delay_seconds'),
      },
      {
        name: 'recovery',
        alert: 'ParleyRecoveryBudgetBurn',
        objective: 0.99,
        promise: 'subscriptions that recover after a reconnect receive everything they missed',
        bad: (window) =>
          byNamespace(`rate(${series('parley_recoveries_total', 'result!="recovered"')}[${window}])`),
        total: (window) => byNamespace(`rate(${series('parley_recoveries_total')}[${window}])`),
      },
    ],
    controller: [
      {
        name: 'programmed',
        alert: 'ParleyProgrammedBudgetBurn',
        objective: 0.99,
        promise: `changes of a tenant are enforced by every gateway within ${programmedSeconds} s`,
        // Prometheus 3 writes integer bounds with a decimal.
        bad: above('parley_controller_programmed_seconds', String.raw`le=~"${programmedSeconds}(\\.0)?"`),
        total: count('parley_controller_programmed_seconds'),
      },
    ],
  }
}

const shortWindows = ['5m', '30m', '1h', '2h', '6h']
const longWindows = ['1d', '3d']

const recorded = (/** @type {string} */ window) => `namespace:parley_slo_errors:ratio_rate${window}`

/** @param {string} name @param {string} window */
export function errorRatio(name, window) {
  return `${recorded(window)}{slo="${name}"}`
}

/** @param {Slo[]} of @param {string} group */
export function recordingGroups(of, group) {
  const rules = (/** @type {string[]} */ windows) =>
    windows.flatMap((window) =>
      of.map(({ bad, name, total }) => ({
        record: recorded(window),
        labels: { slo: name },
        // The counter of failures does not exist before the first failure.
        expr: `(${bad(window)} or 0 * ${total(window)}) / ${total(window)}`,
      })),
    )
  return [
    { name: group, rules: rules(shortWindows) },
    // Ratios over days change slowly and are expensive to compute.
    { name: `${group}-days`, interval: '5m', rules: rules(longWindows) },
  ]
}

/**
 * Multi-window, multi-burn-rate alerts with the factors of Google's SRE workbook for a budget of 30 days.
 * Burning 2% in an hour or 5% in six hours is critical, 10% in one or three days is a warning. The short
 * window ends the alert soon after the problem ends.
 * @param {Slo} slo
 * @param {Series} series
 */
export function burnAlerts({ alert, name, objective, promise }, series) {
  const budget = 1 - objective
  const burns = (/** @type {number} */ factor, /** @type {string[]} */ ...windows) =>
    windows
      .map(
        (window) => `${series(recorded(window), `slo="${name}"`)} > ${Number((factor * budget).toFixed(6))}`,
      )
      .join(' and ')
  const percent = Number((objective * 100).toFixed(3))
  const annotationsFor = (/** @type {string} */ speed) => ({
    summary: `The error budget of the ${name} SLO burns ${speed}.`,
    description: `Objective: ${percent}% of ${promise}. In {{ $labels.namespace }}, {{ $value | humanizePercentage }} did not.`,
  })
  return [
    {
      alert,
      expr: `(${burns(14.4, '1h', '5m')}) or (${burns(6, '6h', '30m')})`,
      for: '2m',
      labels: { severity: 'critical', slo: name },
      annotations: annotationsFor('fast'),
    },
    {
      alert,
      expr: `(${burns(3, '1d', '2h')}) or (${burns(1, '3d', '6h')})`,
      for: '15m',
      labels: { severity: 'warning', slo: name },
      annotations: annotationsFor('slowly'),
    },
  ]
}
