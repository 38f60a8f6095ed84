// The names of kinds and fields of plans and reports. English ones stand here only where the field itself would not read well.

export const fieldsEn = {
  kind_TrainingPlan: "Training plan",
  kind_MealPlan: "Meal plan",
  kind_ProgressAnalysis: "Progress report",
  field_duration_weeks: "weeks",
  field_kcal: "kcal",
  field_weeks: "Week by week",
};

export const fieldsEs = {
  kind_TrainingPlan: "Plan de entrenamiento",
  kind_MealPlan: "Plan de comidas",
  kind_ProgressAnalysis: "Informe de evolución",
  field_duration_weeks: "semanas",
  field_kcal: "kcal",
  field_weeks: "Semana a semana",
  field_meals: "Comidas",
};
