"""Demand forecasting for a chain of shops: forty environments of five domains in one repository.

flyte-build plan examples/monorepo/main.py nightly
flyte-build plan examples/monorepo/main.py --env features-trends
"""

import flyte
from features import calendar, cannibalisation, elasticity, embeddings, lags, quality, trends, weather_effects
from ingest import holidays, orders, prices, promotions, returns, stock, suppliers, weather
from platform_images import base
from reporting import accuracy, alerts, archive, dashboard, finance, shops, suppliers_report
from scoring import drift, explain, forecast, intervals, new_articles, orders_out, overrides, reconcile
from training import backtest, baseline, boosting, forest, intermittent, linear, registry, tuning

DOMAINS = {
    "ingest": [orders, returns, prices, stock, suppliers, weather, holidays, promotions],
    "features": [calendar, lags, trends, elasticity, weather_effects, cannibalisation, embeddings, quality],
    "training": [baseline, linear, boosting, forest, intermittent, tuning, backtest, registry],
    "scoring": [forecast, intervals, reconcile, new_articles, overrides, orders_out, drift, explain],
    "reporting": [accuracy, shops, suppliers_report, finance, alerts, archive, dashboard],
}

env = flyte.TaskEnvironment(
    name="nightly",
    image=base,
    depends_on=[module.env for modules in DOMAINS.values() for module in modules],
)


@env.task
def nightly(day: str) -> list[str]:
    """Every step of one night, domain after domain."""
    done = []
    done.append(orders.orders(day))
    done.append(returns.returns(day))
    done.append(prices.prices(day))
    done.append(stock.stock(day))
    done.append(suppliers.suppliers(day))
    done.append(weather.weather(day))
    done.append(holidays.holidays(day))
    done.append(promotions.promotions(day))
    done.append(calendar.calendar(day))
    done.append(lags.lags(day))
    done.append(trends.trends(day))
    done.append(elasticity.elasticity(day))
    done.append(weather_effects.weather_effects(day))
    done.append(cannibalisation.cannibalisation(day))
    done.append(embeddings.embeddings(day))
    done.append(quality.quality(day))
    done.append(baseline.baseline(day))
    done.append(linear.linear(day))
    done.append(boosting.boosting(day))
    done.append(forest.forest(day))
    done.append(intermittent.intermittent(day))
    done.append(tuning.tuning(day))
    done.append(backtest.backtest(day))
    done.append(registry.registry(day))
    done.append(forecast.forecast(day))
    done.append(intervals.intervals(day))
    done.append(reconcile.reconcile(day))
    done.append(new_articles.new_articles(day))
    done.append(overrides.overrides(day))
    done.append(orders_out.orders_out(day))
    done.append(drift.drift(day))
    done.append(explain.explain(day))
    done.append(accuracy.accuracy(day))
    done.append(shops.shops(day))
    done.append(suppliers_report.suppliers_report(day))
    done.append(finance.finance(day))
    done.append(alerts.alerts(day))
    done.append(archive.archive(day))
    done.append(dashboard.dashboard(day))
    return done
