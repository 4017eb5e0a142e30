// The monitoring mixin of goe-exporter: rules and dashboards for deployment with jsonnet.
// The rules work with any job name, so there is nothing to configure. Requires go-jsonnet or jsonnet 0.22.
{
  prometheusAlerts+:: std.parseYaml(importstr 'alerts/goe-alerts.yaml'),
  prometheusRules+:: std.parseYaml(importstr 'alerts/goe-recording.yaml'),
  grafanaDashboards+:: {
    'goe-charger.json': import 'prometheus/charger.json',
    'goe-energy.json': import 'prometheus/energy.json',
    'goe-fleet.json': import 'prometheus/fleet.json',
    'goe-exporter.json': import 'prometheus/exporter.json',
  },
}
