// Builds Grafana dashboards from a short description: rows of panels, queries with a datasource variable, and
// a computed grid.

/**
 * `legend` has the syntax of Grafana: `{{label}}`.
 * @typedef {{ expr: string, legend: string }} Query `unit` is a unit of Grafana; `short` for plain counts.
 * `thresholds` are the values from which the panel is yellow and red.
 * @typedef {{ title: string, description: string, unit: string, queries: Query[], kind?: 'timeseries' |
 * 'stat' | 'table', stack?: boolean, max?: number, thresholds?: [number, number] }} Panel
 * @typedef {{ title: string, panels: Panel[] }} Row
 * @typedef {{ name: string, label: string, query: string, regex?: string }} Variable
 * @typedef {{ uid: string, title: string, description: string, variables: Variable[], rows: Row[] }}
 * Dashboard
 */

const datasource = { type: 'prometheus', uid: '${datasource}' }
const columns = 24

/** @param {Panel} panel */
function sizeOf({ kind = 'timeseries' }) {
  return kind === 'stat' ? { w: 4, h: 4 } : { w: 8, h: 8 }
}

/** @param {Panel} panel */
function bodyOf({ description, kind = 'timeseries', max, queries, stack, thresholds, title, unit }) {
  const steps = (thresholds ?? []).map((value, index) => ({ color: index === 0 ? 'yellow' : 'red', value }))
  const drawn = {
    fillOpacity: stack ? 30 : 8,
    showPoints: 'never',
    stacking: { mode: stack ? 'normal' : 'none' },
  }
  const thresholdsStyle = { mode: thresholds ? 'line' : 'off' }
  return {
    type: kind,
    title,
    description,
    datasource,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource,
      expr,
      legendFormat: legend,
      ...(kind === 'table' && { instant: true, format: 'table' }),
    })),
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(max !== undefined && { max }),
        color: { mode: thresholds && kind === 'stat' ? 'thresholds' : 'palette-classic' },
        thresholds: { mode: 'absolute', steps: [{ color: 'green', value: null }, ...steps] },
        ...(kind === 'timeseries' && { custom: { ...drawn, thresholdsStyle } }),
      },
      overrides: [],
    },
    options:
      kind === 'stat'
        ? { reduceOptions: { calcs: ['lastNotNull'] }, graphMode: 'area', colorMode: 'value' }
        : { tooltip: { mode: 'multi', sort: 'desc' }, legend: { displayMode: 'list', placement: 'bottom' } },
  }
}

/** @param {Row[]} rows */
function layOut(rows) {
  let id = 0
  let y = 0
  return rows.flatMap(({ panels, title }) => {
    const header = {
      id: (id += 1),
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: columns, h: 1 },
    }
    y += 1
    let x = 0
    let lineHeight = 0
    const placed = panels.map((panel) => {
      const { h, w } = sizeOf(panel)
      if (x + w > columns) {
        x = 0
        y += lineHeight
        lineHeight = 0
      }
      const gridPos = { x, y, w, h }
      x += w
      lineHeight = Math.max(lineHeight, h)
      return { id: (id += 1), gridPos, ...bodyOf(panel) }
    })
    y += lineHeight
    return [header, ...placed]
  })
}

/** @param {Variable} variable */
function variableJson({ label, name, query, regex = '' }) {
  return {
    name,
    label,
    type: 'query',
    datasource,
    query: { query, refId: name },
    regex,
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    // Matches series without the label too.
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
  }
}

/** @param {Dashboard} dashboard */
export function grafanaJson({ description, rows, title, uid, variables }) {
  return {
    uid,
    title,
    description,
    tags: ['parley'],
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: 'browser',
    templating: {
      list: [
        { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus', current: {} },
        ...variables.map(variableJson),
      ],
    },
    links: [
      {
        type: 'dashboards',
        title: 'Parley',
        tags: ['parley'],
        asDropdown: true,
        includeVars: true,
        keepTime: true,
      },
    ],
    annotations: { list: [] },
    panels: layOut(rows),
  }
}

/**
 * Returns the selector of a series, restricted by the variables of the dashboard.
 * @param {string} name
 * @param {...string} matchers
 */
export function selected(name, ...matchers) {
  return `${name}{${['namespace=~"$namespace"', 'job=~"$job"', ...matchers].join(',')}}`
}

/** @param {string} name @param {...string} matchers */
export function rate(name, ...matchers) {
  return `rate(${selected(name, ...matchers)}[$__rate_interval])`
}

/**
 * Returns the quantile of a histogram, aggregated over all labels except `by`.
 * @param {number} q
 * @param {string} name
 * @param {string} [by]
 */
export function quantile(q, name, by = '') {
  return `histogram_quantile(${q}, sum by (le${by === '' ? '' : `, ${by}`}) (${rate(`${name}_bucket`)}))`
}

/**
 * Returns queries for the median and the 99th percentile of a histogram.
 * @param {string} name
 * @returns {Query[]}
 */
export function medianAndP99(name) {
  return [
    { expr: quantile(0.5, name), legend: 'p50' },
    { expr: quantile(0.99, name), legend: 'p99' },
  ]
}

/**
 * Returns the variables that select targets, with the values of `series`, which only those targets expose.
 * @param {string} series
 * @returns {Variable[]}
 */
export function targetVariables(series) {
  return [
    { name: 'namespace', label: 'Namespace', query: `label_values(${series}, namespace)` },
    { name: 'job', label: 'Job', query: `label_values(${series}{namespace=~"$namespace"}, job)` },
  ]
}
